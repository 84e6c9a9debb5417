import type { HttpHead } from '@pilum/core/schemas/http-head.ts';
import { confinedHeader } from './confined-header.ts';
import { hopByHop } from './hop-by-hop.ts';
import type { Place } from './place.ts';

/** A request to a function as a web endpoint, as far as the head of its answer depends on it. */
export interface Asked extends Place {
  readonly isHead: boolean;
}

/** Policy that gives a page an origin of its own: https://html.spec.whatwg.org/multipage/browsers.html#sandboxing */
const SANDBOX = 'sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts';

/** Header that names those headers of a function's answer that were removed, so that their absence is explained. */
const REMOVED = 'pilum-removed-headers';

/**
 * Returns the headers of a function's answer as the client receives them: name, value, name, value …
 * @param sizeBytes size of the body, which replaces the function's own content-length; null for a body in pieces
 * @param trustsPages whether pages of functions may act with the rights of their visitors
 */
export function answerHeaders(
  { status, headers }: HttpHead,
  asked: Asked,
  sizeBytes: number | null,
  trustsPages: boolean,
): string[] {
  const isHopByHop = hopByHop(headers.find(([name]) => name === 'connection')?.[1]);
  const hasNoBody = status === 204 || status === 304;
  // The answer to a HEAD names the size of the answer to a GET, which only the function knows.
  const isSizeKnown = sizeBytes !== null && !(asked.isHead && sizeBytes === 0);
  const flat: string[] = [];
  const removed = new Set<string>();
  for (const [name, value] of headers) {
    if (isHopByHop(name) || name.startsWith('pilum-')) continue;
    if (name === 'content-length' && (hasNoBody || isSizeKnown)) continue;
    const confined = confinedHeader(name, value, asked);
    if (confined === null) removed.add(name);
    else flat.push(name, confined);
  }
  if (isSizeKnown && !hasNoBody) flat.push('content-length', String(sizeBytes));
  // nginx would buffer the stream.
  if (sizeBytes === null && !headers.some(([name]) => name === 'x-accel-buffering'))
    flat.push('x-accel-buffering', 'no');
  if (removed.size > 0) flat.push(REMOVED, [...removed].join(', '));
  // Added to the policies of the function, which hold as well.
  if (!trustsPages) flat.push('content-security-policy', SANDBOX);
  return flat;
}
