import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, closeSync, constants, openSync } from 'node:fs';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { labelOf, readOwner } from '../../ownership/owner.ts';

/** Names within the directory, as the instance knows them. */
export const EXCHANGE_FILES = { socket: 'socket', stdout: 'stdout', stderr: 'stderr' } as const;

/** What the kernel takes for the address of a Unix socket, less the byte that ends it. */
const MAX_ADDRESS = 107;
/** Others may go through it and not look around: the name of a directory below it is not to be guessed. */
const TRAVERSABLE = 0o711;

/** Where the directories of instances lie. */
export const exchangesIn = (stagingDirectory: string) => join(stagingDirectory, 'docker');

/**
 * A directory that an instance is given, and that the worker listens in: a socket for its channel, and a named pipe for each of
 * stdout and stderr. What goes through them does not go through the Engine.
 */
export class Exchange {
  readonly directory: string;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves with the first connection; there is no second one. */
  readonly connected: Promise<Socket>;
  readonly #server: Server;
  /** Writing ends that are kept open, so that a pipe ends when the instance has ended and no sooner. */
  readonly #held: readonly number[];
  #isSilent = false;

  private constructor(
    directory: string,
    server: Server,
    pipes: { stdout: Readable; stderr: Readable; held: readonly number[] },
  ) {
    this.directory = directory;
    this.stdout = pipes.stdout;
    this.stderr = pipes.stderr;
    this.#held = pipes.held;
    this.#server = server;
    this.connected = new Promise((resolve) => {
      server.once('connection', (socket) => {
        // Whoever comes later is not the bootstrap.
        server.close();
        socket.on('error', () => {}); // its end says more
        resolve(socket);
      });
    });
  }

  /** @throws where it cannot be made; nothing is left then */
  static async make(stagingDirectory: string): Promise<Exchange> {
    const parent = exchangesIn(stagingDirectory);
    const directory = join(parent, `${labelOf(await readOwner())}-${randomBytes(8).toString('hex')}`);
    const address = join(directory, EXCHANGE_FILES.socket);
    if (Buffer.byteLength(address) > MAX_ADDRESS) {
      throw new Error(`the path ${address} is too long for a Unix socket: choose a shorter PILUM_DATA`);
    }
    await mkdir(parent, { recursive: true });
    await chmod(parent, TRAVERSABLE);
    const server = createServer();
    try {
      await mkdir(directory, { mode: 0o755 });
      server.listen(address);
      await Promise.all([once(server, 'listening'), makePipes(directory)]);
      // The user in the container is another one.
      chmodSync(address, 0o666);
      return new Exchange(directory, server, openPipes(directory));
    } catch (error) {
      server.close();
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** The instance has ended: nothing more comes, and both pipes end when they have been read. */
  silence(): void {
    if (this.#isSilent) return;
    this.#isSilent = true;
    for (const fd of this.#held) closeSync(fd);
    this.#server.close();
  }

  /** Removes it. May be awaited twice. */
  async remove(): Promise<void> {
    this.silence();
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function makePipes(directory: string): Promise<void> {
  const paths = [join(directory, EXCHANGE_FILES.stdout), join(directory, EXCHANGE_FILES.stderr)];
  await execa('mkfifo', ['-m', '666', ...paths], { timeout: 10_000 });
}

function openPipes(directory: string): { stdout: Readable; stderr: Readable; held: number[] } {
  const held: number[] = [];
  const open = (name: string): Readable => {
    const path = join(directory, name);
    const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    held.push(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
    return new Socket({ fd: reading, readable: true, writable: false });
  };
  return { stdout: open(EXCHANGE_FILES.stdout), stderr: open(EXCHANGE_FILES.stderr), held };
}
