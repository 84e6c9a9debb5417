import type { FastifyRequest } from 'fastify';
import { type Front, loopbackNames, type Seen } from '../auth/front.ts';
import { cookiePrefix } from './cookies.ts';
import type { Place } from './place.ts';

/**
 * Returns the place of the function that a request calls, as its caller sees it.
 * @param called the address of the request, the reference `id`, `id@3` or `id@live`, and the path and query for the function
 */
export function placeOf(
  request: FastifyRequest,
  front: Front,
  called: { readonly seen: Seen; readonly namespace: string; readonly reference: string; readonly url: string },
): Place {
  const { seen, namespace, reference, url } = called;
  const { headers, raw } = request;
  const { localPort } = raw.socket;
  // The function shares the API's origin, so all names of this machine for itself lead to it.
  const ours = localPort === undefined ? [] : [...loopbackNames(localPort)];
  if (front.publicUrl !== null) ours.push(front.publicUrl.host);
  const named = [seen.host, headers.host].filter((host) => host !== undefined);
  if (front.functionOf(raw) !== null) {
    return {
      prefix: seen.base,
      url,
      hosts: named,
      barred: ours.filter((host) => !named.includes(host)),
      cookiePrefix: '',
    };
  }
  const [artifactId = ''] = reference.split('@', 1);
  return {
    prefix: `${seen.base}/fn/${reference}`,
    url,
    hosts: [...named, ...ours],
    barred: [],
    cookiePrefix: cookiePrefix({ namespace, artifactId }),
  };
}
