import type { FastifyRequest } from 'fastify';
import type { Seen } from '../auth/front.ts';
import { ownCookies } from './cookies.ts';
import { hopByHop } from './hop-by-hop.ts';
import type { Place } from './place.ts';

/** Made anew on the way, or of no meaning behind us. */
const NOT_PASSED: ReadonlySet<string> = new Set(['content-length', 'expect']);
const OURS = 'pilum-';

/** What proxies say of a caller. From anyone else it is what the caller would like to be taken for. */
const OF_PROXIES: ReadonlySet<string> = new Set([
  'cf-connecting-ip',
  'client-ip',
  'fastly-client-ip',
  'forwarded',
  'true-client-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-original-host',
  'x-original-url',
  'x-real-ip',
  'x-rewrite-url',
]);

/**
 * The headers that a function gets as a web endpoint: those of the request, but for what is about the connection, what is
 * Pilum's own, its key above all, and cookies of others; and who called, in the words of proxies. Node reads 16 KiB of
 * headers at most.
 */
export function requestHeaders(request: FastifyRequest, seen: Seen, place: Place): Record<string, string> {
  const { headers } = request;
  const isHopByHop = hopByHop(headers.connection);
  const isKey = request.principal.hasKey;
  const passed: Record<string, string> = {};
  for (const sent in headers) {
    // Servers that hand them on as environment variables do not tell the two apart.
    const name = sent.includes('_') ? sent.replaceAll('_', '-') : sent;
    if (NOT_PASSED.has(name) || name.startsWith(OURS) || isHopByHop(name)) continue;
    if (name === 'authorization' && isKey) continue;
    if (!seen.isForwarded && isOfProxies(name)) continue;
    if (name !== sent && (name === 'cookie' || name === 'authorization' || isOfProxies(name))) continue;
    const value = headers[sent];
    const text = Array.isArray(value) ? value.join(', ') : value;
    const kept = name === 'cookie' && text !== undefined ? ownCookies(text, place.cookiePrefix) : text;
    if (kept !== undefined) passed[sent] = kept;
  }
  const before = passed['x-forwarded-for'];
  const from = request.raw.socket.remoteAddress ?? '';
  passed['x-forwarded-for'] = before === undefined || before === '' ? from : `${before}, ${from}`;
  passed['x-forwarded-proto'] = seen.protocol;
  if (seen.host !== undefined) passed['x-forwarded-host'] = seen.host;
  delete passed['x-forwarded-prefix'];
  if (place.prefix !== '') passed['x-forwarded-prefix'] = place.prefix;
  return passed;
}

const isOfProxies = (name: string) => name.startsWith('x-forwarded-') || OF_PROXIES.has(name);
