import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Between two looks, ms. */
const LOOK_INTERVAL_MS = 2000;
/** Who takes nothing for so long of what waits for it is cut off, ms. */
const MOST_STALL_MS = 60_000;
/** A stream that is held back leaves as much in its connection. */
const USUAL_BYTES = 256 * 1024;

interface Connection {
  written: number;
  movedAt: number;
}

/**
 * Bounds what this process holds of answers for those who do not take them. Streams are held back and hold little; an answer that
 * was made as a whole waits in its connection.
 * @param limitBytes what all connections may hold together; above it those go that take nothing, the largest first
 */
export function boundSlowReaders(server: Server, limitBytes: number): void {
  const connections = new Map<Socket, Connection>();
  server.on('connection', (socket: Socket) => {
    connections.set(socket, { written: 0, movedAt: performance.now() });
    socket.once('close', () => connections.delete(socket));
  });
  const timer = setInterval(() => cutOff(connections, limitBytes, performance.now()), LOOK_INTERVAL_MS).unref();
  server.once('close', () => clearInterval(timer));
}

/** What of a connection tells how it is read. */
export interface Written {
  readonly writableLength: number;
  readonly bytesWritten: number;
  destroy(): unknown;
}

/** Cuts off those who have not moved since the last look, as far as there is need. */
export function cutOff(connections: ReadonlyMap<Written, Connection>, limitBytes: number, now: number): void {
  let held = 0;
  const stalled: Written[] = [];
  for (const [socket, connection] of connections) {
    const { writableLength } = socket;
    // `bytesWritten` counts what waits as well.
    const written = socket.bytesWritten - writableLength;
    const hasMoved = writableLength === 0 || written !== connection.written;
    connection.written = written;
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
