import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Front } from '../auth/front.ts';

/** Addresses on Pilum's own pages, which libraries write as absolute paths. */
const ADDRESS = /(\b(?:href|src)=")(?=\/(?!\/))/g;

type Done = (error: Error | null, payload?: unknown) => void;

/** Makes a hook that adds the path prefix of a proxy to the addresses on Pilum's own pages. */
export function pagesBelow(front: Front) {
  return (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done): void => {
    const isPage = typeof payload === 'string' && String(reply.getHeader('content-type') ?? '').startsWith('text/html');
    const base = isPage ? front.seen(request.raw).base : '';
    if (base === '' || !isPage) {
      done(null, payload);
      return;
    }
    reply.removeHeader('content-length');
    done(null, payload.replace(ADDRESS, `$1${base}`));
  };
}
