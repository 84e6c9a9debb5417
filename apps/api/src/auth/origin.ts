import type { IncomingHttpHeaders } from 'node:http';
import { RequestError } from '@pilum/core/errors/pilum-error.ts';

/** Tells whether an address can be reached only from its own machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}

/**
 * Refuses a Host header that names another server. Without a key, any web page open on this machine could otherwise call Pilum
 * through a domain that resolves to 127.0.0.1 (DNS rebinding).
 * @param ours names by which callers may reach this process
 * @throws RequestError `FORBIDDEN`
 */
export function checkHost(host: string | undefined, ours: readonly string[]): void {
  if (host !== undefined && ours.includes(host.toLowerCase())) return;
  throw new RequestError('FORBIDDEN', {
    message: `The Host header is ${shown(host)}; without a key Pilum answers only to ${ours.join(', ')}.`,
    hint: 'To be reached by another name, set PILUM_API_KEY, or name it in PILUM_PUBLIC_URL.',
  });
}

/** Methods that only read. */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/**
 * Tells whether a page of another origin has made the browser send a request. The user may know nothing of it, and yet the browser
 * sends the key that it keeps for this site; on loopback a call needs no key at all. Programs send neither of the two headers.
 *
 * Browsers add `Sec-Fetch-Site` to every request to https and to loopback (https://www.w3.org/TR/fetch-metadata/), and `Origin` to
 * most requests other than a plain GET. Pages cannot set either. An unknown origin counts as another one.
 * @param isOurs tells whether an origin is the API's own
 */
export function isFromElsewhere(headers: IncomingHttpHeaders, isOurs: (origin: string) => boolean): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  return headers.origin !== undefined && !isOurs(headers.origin);
}

/** Tells whether a browser opens the answer as a page of its own; the page with the link then cannot read it. */
export function isNavigation(method: string, headers: IncomingHttpHeaders): boolean {
  return (
    SAFE_METHODS.has(method) &&
    headers.origin === undefined &&
    headers['sec-fetch-mode'] === 'navigate' &&
    headers['sec-fetch-dest'] === 'document'
  );
}

/** Makes the refusal of a request that a page of another origin has sent. */
export function fromElsewhere({ origin, 'sec-fetch-site': site }: IncomingHttpHeaders, hint?: string): RequestError {
  const said =
    origin === undefined
      ? `The Sec-Fetch-Site header is ${shown(String(site))}`
      : `The Origin header is ${shown(origin)}`;
  return new RequestError('FORBIDDEN', {
    message: `${said}; web pages of other sites may not call Pilum.`,
    ...(hint === undefined ? {} : { hint }),
  });
}

const shown = (header: string | undefined) => (header === undefined ? 'missing' : JSON.stringify(header));
