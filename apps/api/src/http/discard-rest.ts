import type { IncomingMessage } from 'node:http';

/** How long a client may go on sending what was refused, ms. */
const LINGER_MS = 10_000;

/**
 * Reads a refused body on to its end, for nothing: many clients look at the answer only when they have sent everything.
 * Not read from, they would wait for ever; cut off, they would see a broken connection instead of the answer. Who takes
 * too long over it is cut off.
 */
export function discardRest(request: IncomingMessage): void {
  if (request.complete !== false || request.destroyed) return;
  const limit = setTimeout(() => request.socket.destroy(), LINGER_MS);
  limit.unref();
  request.once('close', () => clearTimeout(limit));
  request.resume();
}
