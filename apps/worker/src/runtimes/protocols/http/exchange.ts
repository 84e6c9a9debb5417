import { readSync, writeSync } from 'node:fs';
import type { Socket } from 'node:net';

/** One request on its way to a server: which connection it went out on, and after how many bytes of it. */
export interface Exchange {
  /** The id of the connection; empty before the request was written to one. */
  connection: string;
  /** The bytes that had been written to the connection before the request. */
  offset: number;
  /** Whether the connection had carried a request before. */
  isReused: boolean;
  /** Whether the connection was closed already, so that no byte of the request was written. */
  isUnsent: boolean;
}

/** The most bytes of a request that the other side's kernel takes in one piece: it has all of them, or nothing. */
export const MOST_AT_ONCE = 16 * 1024;

export const newExchange = (): Exchange => ({ connection: '', offset: 0, isReused: false, isUnsent: false });

/**
 * Tells whether the other side of a connection on which nothing is expected has closed it. The kernel may know that before the event
 * loop has come to it. Bytes that nobody waits for end a connection as well, and are lost.
 */
export function isClosedByOther(socket: Socket): boolean {
  const fd = descriptorOf(socket);
  if (fd < 0) return true;
  try {
    readSync(fd, Buffer.allocUnsafe(1));
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EAGAIN';
  }
}

/**
 * Tells whether the other side had closed a connection before what was written last came to it: then its kernel has said that nobody
 * reads it, and this one takes nothing more.
 */
export function wasClosedBefore(socket: Socket): boolean {
  const fd = descriptorOf(socket);
  if (fd < 0) return false;
  try {
    writeSync(fd, ' ');
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPIPE';
  }
}

const descriptorOf = (socket: Socket) =>
  (socket as unknown as { readonly _handle: { readonly fd: number } | null })._handle?.fd ?? -1;
