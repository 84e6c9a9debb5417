import type { IncomingHttpHeaders } from 'node:http';
import { RequestError } from '@pilum/core/errors/pilum-error.ts';

/** Whether a machine reaches this address only from itself. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}

/**
 * Without a key any web page that is open on the machine could call us by a name of its own that it points at 127.0.0.1; then
 * `Host` is that name.
 * @param ours names by which callers may reach us
 * @throws RequestError `FORBIDDEN`
 */
export function checkHost(host: string | undefined, ours: readonly string[]): void {
  if (host !== undefined && ours.includes(host.toLowerCase())) return;
  throw new RequestError('FORBIDDEN', {
    message: `The Host header is ${shown(host)}; without a key Pilum answers only to ${ours.join(', ')}.`,
    hint: 'To be reached by another name, set PILUM_API_KEY, or name it in PILUM_PUBLIC_URL.',
  });
}

/** Reads that change nothing. */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD']);

/**
 * Whether a browser was sent here by a page of another origin, which may not have asked its user: it would send along what
 * it knows of this site, a key for example, and on loopback none is needed. Programs send neither header.
 *
 * `Sec-Fetch-Site` comes with every request to https and to loopback (https://www.w3.org/TR/fetch-metadata/), `Origin` with
 * most of those that are no plain GET. Pages cannot set either. What is not known to be ours is not.
 * @param isOurs says of an origin whether it is ours
 */
export function isFromElsewhere(headers: IncomingHttpHeaders, isOurs: (origin: string) => boolean): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  return headers.origin !== undefined && !isOurs(headers.origin);
}

/** Whether a browser opens this as a page of its own: the page that sent it there does not learn what it was answered with. */
export function isNavigation(method: string, headers: IncomingHttpHeaders): boolean {
  return (
    SAFE_METHODS.has(method) &&
    headers.origin === undefined &&
    headers['sec-fetch-mode'] === 'navigate' &&
    headers['sec-fetch-dest'] === 'document'
  );
}

/** The refusal of a request that a page of another origin has made. */
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
