import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { execa } from 'execa';
import { labelOf, readOwner } from '../../ownership/owner.ts';

/** Names within the directory, as the instance knows them. */
export const SOCKET_DIR_FILES = { socket: 'socket', stdout: 'stdout', stderr: 'stderr' } as const;

/** The longest address of a Unix socket that the kernel takes, less the byte that ends it. */
const MAX_ADDRESS = 107;
/** Others may go through it and not look around: the name of a directory below it is not to be guessed. */
const TRAVERSABLE = 0o711;

/** Returns the directory that holds the socket directories of instances. */
export const socketDirsIn = (stagingDirectory: string) => join(stagingDirectory, 'docker');

interface Pipes {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Writing ends that are kept open, so that a pipe ends when the instance has ended and no sooner. */
  readonly held: readonly number[];
}

/**
 * A directory that an instance is given, and that the worker listens in: a socket for its channel, and a named pipe for
 * each of stdout and stderr. Output through them does not go through the Engine.
 */
export class InstanceSocketDir {
  readonly directory: string;
  /** The pipes that the instance prints into. They are made while its container is, and must be there before that starts. */
  readonly pipes: Promise<Pipes>;
  /** Resolves with the first connection; there is no second one. */
  readonly connected: Promise<Socket>;
  readonly #server: Server;
  #silenced: Promise<void> | null = null;

  private constructor(directory: string, server: Server) {
    this.directory = directory;
    this.pipes = makePipes(directory);
    this.pipes.catch(() => {}); // whoever waits for them hears of it
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
  static async make(stagingDirectory: string): Promise<InstanceSocketDir> {
    const parent = socketDirsIn(stagingDirectory);
    const directory = join(parent, `${labelOf(await readOwner())}-${randomBytes(6).toString('base64url')}`);
    const address = join(directory, SOCKET_DIR_FILES.socket);
    if (Buffer.byteLength(address) > MAX_ADDRESS) {
      throw new Error(`the path ${address} is too long for a Unix socket: choose a shorter PILUM_DATA`);
    }
    await mkdir(parent, { recursive: true });
    await chmod(parent, TRAVERSABLE);
    const server = createServer();
    try {
      await mkdir(directory, { mode: 0o755 });
      server.listen(address);
      await once(server, 'listening');
      // The user in the container is another one.
      await chmod(address, 0o666);
      return new InstanceSocketDir(directory, server);
    } catch (error) {
      server.close();
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** The instance has ended: nothing more comes, and both pipes end when they have been read. May be awaited twice. */
  silence(): Promise<void> {
    this.#silenced ??= this.#silence();
    return this.#silenced;
  }

  /** Removes it where no instance has come of it, and nobody reads what would have been printed. */
  async discard(): Promise<void> {
    const pipes = await this.pipes.catch(() => null);
    pipes?.stdout.destroy();
    pipes?.stderr.destroy();
    await this.remove();
  }

  /** Removes it. May be awaited twice. */
  async remove(): Promise<void> {
    await this.silence();
    await rm(this.directory, { recursive: true, force: true });
  }

  async #silence(): Promise<void> {
    this.#server.close();
    const pipes = await this.pipes.catch(() => null);
    for (const fd of pipes?.held ?? []) closeSync(fd);
  }
}

/** @throws RuntimeError `RUNTIME_UNAVAILABLE` */
async function makePipes(directory: string): Promise<Pipes> {
  const paths = [join(directory, SOCKET_DIR_FILES.stdout), join(directory, SOCKET_DIR_FILES.stderr)] as const;
  const made = await execa('mkfifo', ['-m', '666', ...paths], { reject: false, timeout: 10_000 });
  if (made.failed) {
    throw new RuntimeError('RUNTIME_UNAVAILABLE', {
      message: `No named pipe can be made: ${made.shortMessage}`,
      cause: made,
    });
  }
  const held: number[] = [];
  const open = (path: string): Readable => {
    const reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    held.push(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
    return new Socket({ fd: reading, readable: true, writable: false });
  };
  return { stdout: open(paths[0]), stderr: open(paths[1]), held };
}
