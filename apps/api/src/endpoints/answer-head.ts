import type { HttpHead } from '@pilum/core/schemas/http-head.ts';
import { confinedHeader } from './confined-header.ts';
import { hopByHop } from './hop-by-hop.ts';
import type { Place } from './place.ts';

/** How a function was asked as a web endpoint. */
export interface Asked extends Place {
  readonly isHead: boolean;
}

/** A page has an origin of its own, whatever it was loaded from: https://html.spec.whatwg.org/multipage/browsers.html#sandboxing */
const SANDBOX = 'sandbox allow-downloads allow-forms allow-modals allow-popups allow-scripts';

/** Names what a function has said and may not say here, so that whoever misses it knows why. */
const REMOVED = 'pilum-removed-headers';

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
  const removed = new Set<string>();
  for (const [name, value] of headers) {
    if (isHopByHop(name) || name.startsWith('pilum-')) continue;
    if (name === 'content-length' && (hasNoBody || isSizeKnown)) continue;
    const confined = confinedHeader(name, value, asked);
    if (confined === null) removed.add(name);
    else flat.push(name, confined);
  }
  if (isSizeKnown && !hasNoBody) flat.push('content-length', String(sizeBytes));
  // nginx would collect it.
  if (sizeBytes === null && !headers.some(([name]) => name === 'x-accel-buffering'))
    flat.push('x-accel-buffering', 'no');
  if (removed.size > 0) flat.push(REMOVED, [...removed].join(', '));
  // One more policy: those that the function has hold as well.
  if (!trustsPages) flat.push('content-security-policy', SANDBOX);
  return flat;
}
