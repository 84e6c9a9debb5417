import type { IncomingMessage } from 'node:http';

/** Time for a client to send the rest of a refused body, ms. */
const LINGER_MS = 10_000;

/**
 * Reads a refused body to its end and drops it. Many clients read the answer only after they have sent everything: unread, they
 * would wait forever; cut off, they would see a broken connection in place of the answer. A client that takes too long is cut off.
 */
export function discardRest(request: IncomingMessage): void {
  if (request.complete !== false || request.destroyed) return;
  const limit = setTimeout(() => request.socket.destroy(), LINGER_MS);
  limit.unref();
  request.once('close', () => clearTimeout(limit));
  request.resume();
}
