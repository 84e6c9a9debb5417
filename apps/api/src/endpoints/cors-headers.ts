import type { IncomingHttpHeaders } from 'node:http';
import type { Cors } from '@pilum/core/schemas/artifact-spec.ts';

/** Time for which browsers may cache the answer to a preflight, s. Chromium allows two hours, but a spec may change sooner. */
const PREFLIGHT_S = 600;

/** Tells whether pages of an origin may call a function. */
export function allowsOrigin(cors: Cors | undefined, origin: string): boolean {
  return cors !== undefined && (cors.origins.includes('*') || cors.origins.includes(origin));
}

/** Tells whether a request is a CORS preflight: https://fetch.spec.whatwg.org/#cors-preflight-request */
export function isPreflight(method: string, headers: IncomingHttpHeaders): boolean {
  return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
}

/** Returns the headers that let a page of an allowed origin read an answer. */
export function corsHeaders(cors: Cors, origin: string): Record<string, string> {
  const withCredentials = cors.credentials === true;
  return {
    'access-control-allow-origin': cors.origins.includes('*') ? '*' : origin,
    ...(withCredentials ? { 'access-control-allow-credentials': 'true' } : {}),
    'access-control-expose-headers': withCredentials ? 'Pilum-Task-Id, Location, Retry-After' : '*',
    vary: 'Origin',
  };
}

/** Returns the headers of the answer to a preflight. All requested methods and headers are allowed; the function judges them itself. */
export function preflightHeaders(cors: Cors, headers: IncomingHttpHeaders): Record<string, string> {
  const origin = headers.origin ?? '';
  const { 'access-control-expose-headers': _ofAnswers, ...allowed } = corsHeaders(cors, origin);
  const asked = headers['access-control-request-headers'];
  return {
    ...allowed,
    'access-control-allow-methods': String(headers['access-control-request-method']),
    ...(asked === undefined ? {} : { 'access-control-allow-headers': String(asked) }),
    ...(headers['access-control-request-private-network'] === 'true'
      ? { 'access-control-allow-private-network': 'true' }
      : {}),
    'access-control-max-age': String(PREFLIGHT_S),
    vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
  };
}
