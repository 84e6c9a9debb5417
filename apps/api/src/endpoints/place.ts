/** Where a function stands as a web endpoint, as whoever asks it sees it. */
export interface Place {
  /** What stands before the paths of the function, such as `/fn/greeter`; empty where it has an origin of its own. */
  readonly prefix: string;
  /** Path and query of the request, as the function was given them: what it says is relative to them. */
  readonly url: string;
  /** Names (`host` or `host:port`) by which this origin is reached: the Host header, and those that the operator has set. */
  readonly hosts: readonly string[];
  /** Names by which the API is reached from an origin that is the function's own: no place to send a caller to. */
  readonly barred: readonly string[];
  /** What names of its cookies begin with on this origin; empty where it has one of its own. */
  readonly cookiePrefix: string;
}

/** Stands for this origin where a request has not named it. */
const NO_HOST = 'origin.invalid';

/**
 * Resolves a reference of a function's answer as a browser does (https://url.spec.whatwg.org), and keeps it below the prefix
 * where it leads to this origin: what the function knows as `/login` is `/fn/greeter/login` for others, and no reference of it
 * is anything else here. What leads elsewhere stays, as a whole URL that every client reads alike.
 * @returns null where it leads nowhere, or nowhere safe
 */
export function confinedReference(reference: string, place: Place): string | null {
  const host = place.hosts[0] ?? NO_HOST;
  // Put together, and not resolved: the path of a request may begin with `//`.
  const base = URL.parse(`http://${host}${place.url}`) ?? URL.parse(`http://${NO_HOST}/`);
  const resolved = base === null ? null : URL.parse(reference, base);
  if (resolved === null || resolved.protocol === 'javascript:') return null;
  if (!isHere(resolved, place.hosts)) return isHere(resolved, place.barred) ? null : resolved.href;
  const path = pathBelow(resolved.pathname, place.prefix);
  return path === null ? null : path + resolved.search + resolved.hash;
}

/**
 * A path of the function as it is on this origin.
 * @param path as a URL has it: without `..` in any spelling
 * @returns null where a proxy on the way, which decodes it, could read it as a path that leads out
 */
export function pathBelow(path: string, prefix: string): string | null {
  if (prefix === '') return path.startsWith('//') ? `/.${path}` : path;
  if (climbs(path)) return null;
  const isBelow = path.startsWith(prefix) && /^(?:$|\/)/.test(path.slice(prefix.length));
  return isBelow ? path : prefix + path;
}

/** Whether the URL is of this origin, over whichever scheme: both lead to the same process. */
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

/** `example.com.` is `example.com`. */
const withoutDot = (host: string) => host.replace(/\.(?=:\d+$|$)/, '');

/** How often something on the way may decode a path. */
const MOST_DECODINGS = 3;

/** Whether a path has a `..` as a segment after it was decoded, once or more. */
function climbs(path: string): boolean {
  let decoded = path;
  for (let i = 0; i < MOST_DECODINGS && decoded.includes('%'); i++) {
    decoded = decoded.replace(/%(2e|2f|5c|25)/gi, (escaped) =>
      String.fromCharCode(Number.parseInt(escaped.slice(1), 16)),
    );
  }
  return /(?:^|[/\\])\.\.(?:[/\\;]|$)/.test(decoded);
}
