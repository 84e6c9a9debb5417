import type { HttpHead } from '@pilum/core/schemas/http-head.ts';
import { hopByHop } from './hop-by-hop.ts';

/** Of whoever asks a function as a web endpoint. */
export interface Asked {
  /** What stands before the paths of the function, such as `/fn/greeter`. */
  readonly prefix: string;
  /** The Host header. */
  readonly host: string | undefined;
  readonly isHead: boolean;
}

/**
 * What a function may not say on an origin that it shares with others: it would hold for all of them and for the API, or
 * have a proxy before us give away its files.
 */
const NOT_OURS_TO_SAY: ReadonlySet<string> = new Set([
  'accept-ch',
  'alt-svc',
  'clear-site-data',
  'critical-ch',
  'nel',
  'origin-agent-cluster',
  'public-key-pins',
  'public-key-pins-report-only',
  'report-to',
  'reporting-endpoints',
  'service-worker-allowed',
  'strict-transport-security',
  'x-accel-redirect',
  'x-lighttpd-send-file',
  'x-lighttpd-send-tempfile',
  'x-reproxy-file',
  'x-reproxy-url',
  'x-sendfile',
]);

/** A page has an origin of its own, whatever it was loaded from: https://html.spec.whatwg.org/multipage/browsers.html#sandboxing */
const SANDBOX = 'sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts';

/**
 * The head of a function's answer as it goes to the client: name, value, name, value …
 * @param sizeBytes size of the body where it is known, which then counts; null where it comes in pieces
 * @param trustsPages pages of functions may act as whoever opened them
 */
export function answerHeaders(
  { status, headers }: HttpHead,
  asked: Asked,
  sizeBytes: number | null,
  trustsPages: boolean,
): string[] {
  const isHopByHop = hopByHop(headers.find(([name]) => name === 'connection')?.[1]);
  const hasNoBody = status === 204 || status === 304;
  // A HEAD is answered with the size of what a GET would give, which only the function knows.
  const isSizeKnown = sizeBytes !== null && !(asked.isHead && sizeBytes === 0);
  const flat: string[] = [];
  for (const [name, value] of headers) {
    if (isHopByHop(name) || NOT_OURS_TO_SAY.has(name) || name.startsWith('pilum-')) continue;
    if (name === 'content-length' && (hasNoBody || isSizeKnown)) continue;
    flat.push(name, confined(name, value, asked));
  }
  if (isSizeKnown && !hasNoBody) flat.push('content-length', String(sizeBytes));
  // One more policy: those that the function has hold as well.
  if (!trustsPages) flat.push('content-security-policy', SANDBOX);
  return flat;
}

function confined(name: string, value: string, asked: Asked): string {
  if (name === 'location' || name === 'content-location') return locationBelow(value, asked);
  return name === 'set-cookie' ? cookieBelow(value, asked.prefix) : value;
}

/** Where a function sends its caller to: what it knows as `/login` is `/fn/greeter/login` for others. */
function locationBelow(location: string, { prefix, host }: Asked): string {
  if (location.startsWith('/') && !location.startsWith('//')) return pathBelow(location, prefix);
  if (host === undefined) return location;
  const url = URL.parse(location);
  if (url === null || url.host !== host.toLowerCase() || !/^https?:$/.test(url.protocol)) return location;
  return pathBelow(`${url.pathname}${url.search}${url.hash}`, prefix);
}

function pathBelow(path: string, prefix: string): string {
  const isBelow = path.startsWith(prefix) && /^(?:$|[/?#])/.test(path.slice(prefix.length));
  return isBelow ? path : prefix + path;
}

/** A cookie that is for this function only: RFC 6265, section 5.1.4 says which paths get it. */
function cookieBelow(cookie: string, prefix: string): string {
  const [pair = '', ...attributes] = cookie.split(';');
  let path = prefix;
  const kept: string[] = [];
  for (const attribute of attributes) {
    const [name = '', ...rest] = attribute.split('=');
    const key = name.trim().toLowerCase();
    if (key === 'domain') continue;
    if (key !== 'path') {
      kept.push(attribute);
      continue;
    }
    const asked = rest.join('=').trim();
    path = asked === '/' || !asked.startsWith('/') ? prefix : pathBelow(asked, prefix);
  }
  return [pair, ...kept, ` Path=${path}`].join(';');
}
