import type { FastifyReply } from 'fastify';

/** One reason for all signals, because creating an error for each connection that closes would be expensive. */
const GONE = new Error('the caller has left');

/** Returns a signal that is aborted when the caller's connection closes before the answer is complete. */
export function disconnectSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  const { raw } = reply;
  raw.once('close', () => {
    if (!raw.writableFinished) gone.abort(GONE);
  });
  return gone.signal;
}
