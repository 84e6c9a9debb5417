import type { FastifyReply } from 'fastify';

/** One for all calls: every connection closes, and an error made for each would cost more than the rest of this. */
const GONE = new Error('the caller has left');

/** Aborted when the caller's connection closes before it is answered. */
export function disconnectSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const { raw } = reply;
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort(GONE);
  });
  return gone.signal;
}
