import type { FastifyRequest } from 'fastify';
import { type Front, loopbackNames, type Seen } from '../auth/front.ts';
import { cookiePrefix } from './cookies.ts';
import type { Place } from './place.ts';

/**
 * Where the function that a request calls stands, as its caller sees it.
 * @param reference `id`, `id@3` or `id@live`
 * @param url what of the request's target is the function's
 */
export function placeOf(
  request: FastifyRequest,
  front: Front,
  called: { readonly seen: Seen; readonly namespace: string; readonly reference: string; readonly url: string },
): Place {
  const { seen, namespace, reference, url } = called;
  const { headers, raw } = request;
  const { localPort } = raw.socket;
  // As the API: by the names of this machine for itself too, whichever of them the caller has used.
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
    cookiePrefix: cookiePrefix(namespace, artifactId),
  };
}
