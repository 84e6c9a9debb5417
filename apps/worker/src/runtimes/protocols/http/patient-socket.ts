import { readSync } from 'node:fs';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { readGuarded } from '../../contract/intake.ts';

/** Largest piece of what a server has left unread, bytes. */
const PIECE = 64 * 1024;

/**
 * A connection to a server of which all that it has said is read, also where it has closed it before it had read all that
 * it was sent: one that answers 413 to the head of an upload does. A socket of Node is gone with the first write that
 * fails, and with it the answer, which the kernel still has.
 */
export class PatientSocket extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    const destroy = socket._destroy;
    socket._destroy = (error, done) => {
      if (error !== null) for (const piece of lastWords(socket)) this.push(piece);
      destroy.call(socket, error, done);
    };
    readGuarded(
      socket,
      (bytes) => {
        if (!this.push(bytes)) socket.pause();
      },
      (thrown) => this.destroy(thrown as Error),
    );
    socket.on('end', () => this.push(null));
    // Whoever waits for an answer finds that there is none.
    socket.on('error', () => undefined);
    socket.on('close', () => this.push(null));
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // Bytes that are not taken any more are for nobody; what was said about it is read all the same.
    if (this.#socket.writable) this.#socket.write(bytes, () => done());
    else done();
  }

  override _final(done: () => void): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  ref(): this {
    this.#socket.ref();
    return this;
  }

  unref(): this {
    this.#socket.unref();
    return this;
  }
}

/** Returns the bytes that have come and were not read, of a connection that is about to be closed here. */
function lastWords(socket: Socket): Buffer[] {
  const pieces: Buffer[] = [];
  for (let piece = socket.read() as Buffer | null; piece !== null; piece = socket.read()) pieces.push(piece);
  const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } | null })._handle ?? { fd: -1 };
  if (fd < 0) return pieces;
  for (;;) {
    const piece = Buffer.allocUnsafe(PIECE);
    let size = 0;
    try {
      size = readSync(fd, piece);
    } catch {
      // Nothing more.
    }
    if (size === 0) return pieces;
    pieces.push(piece.subarray(0, size));
  }
}
