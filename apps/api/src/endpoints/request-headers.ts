import type { FastifyRequest } from 'fastify';
import type { Seen } from '../auth/front.ts';
import { ownCookies } from './cookies.ts';
import { hopByHop } from './hop-by-hop.ts';
import type { Place } from './place.ts';

/** Headers that are made anew for the function, or have no meaning for it. */
const NOT_PASSED: ReadonlySet<string> = new Set(['content-length', 'expect']);
const OURS = 'pilum-';

/** Headers in which proxies describe a caller. From anyone but a trusted proxy they could be forged. */
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
 * Returns the headers that a function receives as a web endpoint: those of the request, and the caller's address in the headers that
 * proxies use. Headers about the connection, Pilum's own (its key above all) and cookies of others are removed. Node limits all
 * headers to 16 KiB.
 */
export function requestHeaders(request: FastifyRequest, seen: Seen, place: Place): Record<string, string> {
  const { headers } = request;
  const isHopByHop = hopByHop(headers.connection);
  const isKey = request.principal.hasKey;
  const passed: Record<string, string> = {};
  for (const sent in headers) {
    // CGI-like servers treat `-` and `_` alike.
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
