import type { FastifyRequest } from 'fastify';
import { principalOf } from '../auth/principal.ts';
import { hopByHop } from './hop-by-hop.ts';

/** Made anew on the way, or of no meaning behind us. */
const NOT_PASSED: ReadonlySet<string> = new Set(['content-length', 'expect']);
const OURS = 'pilum-';

/**
 * The headers that a function gets as a web endpoint: those of the request, but for what is about the connection and what is
 * Pilum's own, its key above all; and who called, in the words of proxies. Node reads 16 KiB of headers at most.
 * @param prefix what stood before the path that the function is given, such as `/fn/greeter`
 */
export function requestHeaders(request: FastifyRequest, prefix: string): Record<string, string> {
  const { headers } = request;
  const isHopByHop = hopByHop(headers.connection);
  const isKey = principalOf(request).hasKey;
  const passed: Record<string, string> = {};
  for (const name in headers) {
    if (NOT_PASSED.has(name) || name.startsWith(OURS) || isHopByHop(name)) continue;
    if (name === 'authorization' && isKey) continue;
    const value = headers[name];
    if (value !== undefined) passed[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  const before = passed['x-forwarded-for'];
  const from = request.raw.socket.remoteAddress ?? '';
  passed['x-forwarded-for'] = before === undefined || before === '' ? from : `${before}, ${from}`;
  // A proxy before us knows better how it was called.
  passed['x-forwarded-proto'] ??= request.protocol;
  if (headers.host !== undefined) passed['x-forwarded-host'] ??= headers.host;
  passed['x-forwarded-prefix'] = prefix;
  return passed;
}
