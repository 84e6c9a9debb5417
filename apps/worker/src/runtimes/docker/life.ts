import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { labelOf, namesOfTheDead, ownerIn, readOwner } from '../../ownership/owner.ts';
import type { Presence } from '../../ownership/presence.ts';
import { socketDirsIn } from './instance-socket-dir.ts';

const SUFFIX = '-life';
/** The time that a connection to a socket of this machine may take, ms. */
const ASK_MS = 1000;

/**
 * A socket on which a worker listens for as long as it lives. Pids of another container mean nothing; whether anybody listens
 * can be found out by whoever shares the directory: a worker that is stopped or busy is connected to by the kernel.
 */
export class Life {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async begin(stagingDirectory: string): Promise<Life> {
    const parent = socketDirsIn(stagingDirectory);
    await mkdir(parent, { recursive: true });
    const server = createServer((socket) => socket.destroy());
    server.listen(pathOf(parent, labelOf(await readOwner())));
    await once(server, 'listening');
    // The socket is no reason for this process to go on.
    server.unref();
    return new Life(server);
  }

  /** Ends the sign of life. May be called twice. */
  end(): void {
    this.#server.close();
  }
}

/** The places at which workers show that they live. */
export interface LifeSigns {
  readonly stagingDirectory: string;
  /** The presence of workers on whom the sockets say nothing. */
  readonly presence: Presence | null;
}

/**
 * Returns, of names that begin with labels, those whose owners are dead for certain, wherever those ran on this machine: an
 * owner in another pid namespace is, where its socket is there and nobody listens.
 */
export async function namesOfTheDeadAnywhere(
  names: readonly string[],
  { stagingDirectory, presence }: LifeSigns,
): Promise<string[]> {
  const dead = new Set(await namesOfTheDead(names, presence));
  const verdicts = new Map<string, Promise<boolean>>();
  for (const name of names) {
    const owner = ownerIn(name);
    if (owner === null || dead.has(name)) continue;
    const label = labelOf(owner);
    const verdict = verdicts.get(label) ?? isDeserted(pathOf(socketDirsIn(stagingDirectory), label));
    verdicts.set(label, verdict);
    if (await verdict) dead.add(name);
  }
  return [...dead];
}

/** Tells whether a name in a directory is that of a life socket; its owner's other things go before it. */
export const isLife = (name: string): boolean => name.endsWith(SUFFIX);

const pathOf = (parent: string, label: string) => join(parent, `${label}${SUFFIX}`);

async function isDeserted(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once('connect', () => resolve(false));
  // A socket that is not there, or that we may not ask, says nothing.
  socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  socket.setTimeout(ASK_MS, () => resolve(false));
  const verdict = await promise;
  socket.destroy();
  return verdict;
}
