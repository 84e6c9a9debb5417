import { carriedCookie } from './cookies.ts';
import { confinedReference, type Place, pathBelow } from './place.ts';

/** Headers that would affect the whole origin: other functions on it, and the API. */
const OF_THE_ORIGIN: ReadonlySet<string> = new Set([
  'accept-ch',
  'activate-storage-access',
  'clear-site-data',
  'critical-ch',
  'expect-ct',
  'expect-staple',
  'nel',
  'origin-agent-cluster',
  'public-key-pins',
  'public-key-pins-report-only',
  'report-to',
  'reporting-endpoints',
  'sec-session-challenge',
  'sec-session-registration',
  'service-worker-allowed',
  'set-login',
  'shared-storage-write',
  'speculation-rules',
  'strict-transport-security',
  'use-as-dictionary',
]);

/** Headers that no function may send: other addresses for this port, and orders to a proxy to serve a file. */
const NEVER: ReadonlySet<string> = new Set(['alt-svc', 'set-cookie2', 'x-accel-redirect']);

/** Prefixes of headers that no function may send. CORS headers are among them, because the spec decides about other origins. */
const NEVER_BEGINS = ['access-control-', 'x-lighttpd-send-', 'x-litespeed-', 'x-reproxy-', 'x-sendfile'];

/** Rewrites the value of a header so that it stays below the function's prefix; null if nothing of it can stay. */
type Confine = (value: string, place: Place) => string | null;

const CONFINED: Readonly<Record<string, Confine>> = {
  'content-location': confinedReference,
  'content-security-policy': confinedPolicy,
  'content-security-policy-report-only': confinedPolicy,
  link: confinedLink,
  location: confinedReference,
  refresh: confinedRefresh,
  'set-cookie': confinedCookie,
  sourcemap: confinedReference,
  'x-sourcemap': confinedReference,
};

/**
 * Returns the value of a function's header as it may appear on this origin.
 * @param name the name in lower case
 * @returns null if the header must be removed
 */
export function confinedHeader(name: string, value: string, place: Place): string | null {
  if (NEVER.has(name) || NEVER_BEGINS.some((beginning) => name.startsWith(beginning))) return null;
  const isShared = place.cookiePrefix !== '';
  if (isShared && (OF_THE_ORIGIN.has(name) || name.startsWith('attribution-reporting-'))) return null;
  if (isShared && name.startsWith('secure-session-')) return null;
  return CONFINED[name]?.(value, place) ?? (Object.hasOwn(CONFINED, name) ? null : value);
}

/**
 * Rewrites `Refresh`: seconds and an address, which may be in quotes and lack `url=`.
 * https://html.spec.whatwg.org/multipage/semantics.html#shared-declarative-refresh-steps
 */
function confinedRefresh(value: string, place: Place): string | null {
  const [, seconds = '', rest = ''] = /^\s*(\d*)[\d.]*(?:\s*[;,]|\s|$)\s*(.*)$/s.exec(value) ?? [];
  if (rest === '') return seconds === '' ? null : seconds;
  const [, quote = '', quoted = ''] = /^(?:url\s*=\s*)?(["']?)(.*)$/is.exec(rest) ?? [];
  const address = quote === '' ? quoted : (quoted.split(quote, 1)[0] ?? '');
  const confined = confinedReference(address, place);
  return confined === null ? null : `${seconds === '' ? '0' : seconds}; url=${confined}`;
}

/** Rewrites `Link` as in RFC 8288: `<address>; rel=…, <address>; …` */
function confinedLink(value: string, place: Place): string | null {
  let isWhole = /^\s*</.test(value);
  const confined = value.replace(/<([^>]*)(>?)/g, (_, address: string, end: string) => {
    const below = end === '' ? null : confinedReference(address, place);
    isWhole &&= below !== null;
    return `<${below}>`;
  });
  return isWhole ? confined : null;
}

/** Rewrites a content security policy, which affects its own page only, except for the addresses of its reports. */
function confinedPolicy(value: string, place: Place): string {
  if (!/report-uri/i.test(value)) return value;
  return value
    .split(/([;,])/)
    .map((directive) => {
      const [name = '', ...addresses] = directive.trim().split(/\s+/);
      if (name.toLowerCase() !== 'report-uri') return directive;
      const confined = addresses.map((address) => confinedReference(address, place));
      return ` ${['report-uri', ...confined.filter((address) => address !== null)].join(' ')}`;
    })
    .join('');
}

/** Rewrites a cookie so that browsers send it to this function only, by the path rules of RFC 6265, section 5.1.4. */
function confinedCookie(cookie: string, place: Place): string | null {
  const [pair = '', ...attributes] = cookie.split(';');
  // On an origin of its own the function keeps the browser's default path.
  let path = place.cookiePrefix === '' && place.prefix === '' ? null : place.prefix;
  const kept: string[] = [];
  for (const attribute of attributes) {
    const [name = '', ...rest] = attribute.split('=');
    const key = name.trim().toLowerCase();
    if (key === 'domain') continue;
    if (key === 'path') path = cookiePath(rest.join('=').trim(), place.prefix);
    else kept.push(attribute);
  }
  return [carriedCookie(pair, place.cookiePrefix), ...kept, ...(path === null ? [] : [` Path=${path}`])].join(';');
}

function cookiePath(asked: string, prefix: string): string {
  const root = prefix === '' ? '/' : prefix;
  if (asked === '/' || !asked.startsWith('/')) return root;
  const url = URL.parse(`http://origin.invalid${asked}`);
  return (url === null ? null : pathBelow(url.pathname, prefix)) ?? root;
}
