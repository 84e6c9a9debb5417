import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Time between two checks of all connections, ms. */
const LOOK_INTERVAL_MS = 2000;
/** Time after which a connection is cut off whose client reads nothing, ms. */
const MOST_STALL_MS = 60_000;
/** Bytes that wait in the connection of a healthy stream at most. */
const USUAL_BYTES = 256 * 1024;

interface Connection {
  written: number;
  /** Bytes of a write under way that the machine had not taken at the last look. */
  queued?: number;
  /** Whether something waited for it at the last look. */
  waited?: boolean;
  movedAt: number;
}

/**
 * Bounds the memory of answers that clients do not read. Streams wait for their readers and hold little; any other answer waits in
 * its connection as a whole.
 * @param limitBytes limit of all connections together; above it, connections without progress are cut off, the largest first
 */
export function boundSlowReaders(server: Server, limitBytes: number): void {
  const connections = new Map<Socket, Connection>();
  server.on('connection', (socket: Socket) => {
    connections.set(socket, { written: 0, movedAt: performance.now(), waited: false });
    socket.once('close', () => connections.delete(socket));
  });
  const timer = setInterval(() => cutOff(connections, limitBytes, performance.now()), LOOK_INTERVAL_MS).unref();
  server.once('close', () => clearInterval(timer));
}

/** The part of a socket that shows whether its client reads. */
export interface Written {
  readonly writableLength: number;
  readonly bytesWritten: number;
  /** The handle that tells how far a single large write is: Node itself goes by it where a connection has a time-out. */
  readonly _handle?: { readonly writeQueueSize?: number } | null;
  destroy(): unknown;
}

/** Cuts off connections without progress since the last check: those stalled for long, and others until the limit holds. */
export function cutOff(connections: ReadonlyMap<Written, Connection>, limitBytes: number, now: number): void {
  let held = 0;
  const stalled: Written[] = [];
  for (const [socket, connection] of connections) {
    const { writableLength } = socket;
    // `bytesWritten` includes the bytes that still wait.
    const written = socket.bytesWritten - writableLength;
    const queued = socket._handle?.writeQueueSize ?? 0;
    // What has begun since the last look has had no time to move.
    const hasBegun = connection.waited === false;
    const hasMoved =
      writableLength === 0 || hasBegun || written !== connection.written || queued !== (connection.queued ?? queued);
    connection.written = written;
    connection.queued = queued;
    connection.waited = writableLength > 0;
    if (hasMoved) connection.movedAt = now;
    held += writableLength;
    if (hasMoved || writableLength <= USUAL_BYTES) continue;
    if (now - connection.movedAt > MOST_STALL_MS) {
      held -= writableLength;
      socket.destroy();
    } else stalled.push(socket);
  }
  if (held <= limitBytes) return;
  stalled.sort((a, b) => b.writableLength - a.writableLength);
  for (const socket of stalled) {
    if (held <= limitBytes) return;
    held -= socket.writableLength;
    socket.destroy();
  }
}
