/** The place of a function as a web endpoint, as its caller sees it. */
export interface Place {
  /** The prefix of the function's paths, such as `/fn/greeter`; empty on an origin of its own. */
  readonly prefix: string;
  /** Path and query of the request as the function sees them, to which its references are relative. */
  readonly url: string;
  /** Names (`host` or `host:port`) of this origin: the Host header, and those that the operator has set. */
  readonly hosts: readonly string[];
  /** Names of the API, for a function with an origin of its own. The function must not send its callers there. */
  readonly barred: readonly string[];
  /** Prefix of the function's cookies; empty on an origin of its own. */
  readonly cookiePrefix: string;
}

/** Host that stands for this origin if the request names none. */
const NO_HOST = 'origin.invalid';

/**
 * Resolves a URL reference of a function's answer as a browser does (https://url.spec.whatwg.org). A reference to this origin stays
 * below the function's prefix: its `/login` becomes `/fn/greeter/login`. A reference elsewhere becomes an absolute URL, which all
 * clients read alike.
 * @returns null for an invalid or unsafe reference
 */
export function confinedReference(reference: string, place: Place): string | null {
  const host = place.hosts[0] ?? NO_HOST;
  // Concatenated, because the path of a request may begin with `//`, which would resolve to another host.
  const base = URL.parse(`http://${host}${place.url}`) ?? URL.parse(`http://${NO_HOST}/`);
  const resolved = base === null ? null : URL.parse(reference, base);
  if (resolved === null || resolved.protocol === 'javascript:') return null;
  if (!isHere(resolved, place.hosts)) return isHere(resolved, place.barred) ? null : resolved.href;
  const path = pathBelow(resolved.pathname, place.prefix);
  return path === null ? null : path + resolved.search + resolved.hash;
}

/**
 * Returns a path of the function as it is on this origin.
 * @param path the path of a parsed URL, in which the parser has resolved every `..`
 * @returns null if a proxy that decodes the path could find a `..` that leads out of the prefix
 */
export function pathBelow(path: string, prefix: string): string | null {
  if (prefix === '') return path.startsWith('//') ? `/.${path}` : path;
  if (climbs(path)) return null;
  const isBelow = path.startsWith(prefix) && /^(?:$|\/)/.test(path.slice(prefix.length));
  return isBelow ? path : prefix + path;
}

/** Tells whether a URL leads to one of the hosts. The scheme may be either, because both lead to the same process. */
function isHere(url: URL, hosts: readonly string[]): boolean {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return false;
  const asked = withoutDot(url.host);
  if (asked === NO_HOST) return true;
  return hosts.some((host) =>
    ['http', 'https'].some((scheme) => {
      const known = URL.parse(`${scheme}://${host}`);
      return known !== null && withoutDot(known.host) === asked;
    }),
  );
}

/** Removes the trailing dot of a host: `example.com.` is `example.com`. */
const withoutDot = (host: string) => host.replace(/\.(?=:\d+$|$)/, '');

/** Number of times that proxies may decode a path. */
const MOST_DECODINGS = 3;

/** Tells whether a path has a `..` segment after decoding it once or more. */
function climbs(path: string): boolean {
  let decoded = path;
  for (let i = 0; i < MOST_DECODINGS && decoded.includes('%'); i++) {
    decoded = decoded.replace(/%(2e|2f|5c|25)/gi, (escaped) =>
      String.fromCharCode(Number.parseInt(escaped.slice(1), 16)),
    );
  }
  return /(?:^|[/\\])\.\.(?:[/\\;]|$)/.test(decoded);
}
