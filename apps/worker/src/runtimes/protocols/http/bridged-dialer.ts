import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { renameSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { labelOf, namesOfTheDead, readOwner } from '../../../ownership/owner.ts';
import type { Presence } from '../../../ownership/presence.ts';
import type { Dialer } from '../../contract/dialer.ts';
import { readGuarded } from '../../contract/intake.ts';

/**
 * The port that every server finds in `PORT`: no other server has it in a network of its own, and Cloud Run names the same.
 */
export const PORT_IN_SANDBOX = 8080;

const PREFIX = 'pilum-http-';
const ASK = Buffer.from('?');
const ASK_PORTS = Buffer.from('l');
const ASK_HANDED_ON = 'h';
/**
 * The answers: whether the server listens; how many bytes of a connection it was given; the ports on which something listens.
 */
const ANSWERS = /[yn]|h([0-9a-f]{16}):([0-9]{1,16})\n|([0-9,]{0,400})\n/y;
/** The longest answer. */
const MOST_ANSWER = 512;

/** The sockets by which one worker reaches servers in sandboxes that have no network. */
export class BridgeSockets {
  #directory: Promise<string> | null = null;

  /** Makes one more, which listens, and whose connections wait until the bridge takes them. */
  async open(): Promise<BridgeSocket> {
    const used = this.#directory;
    try {
      return await this.#listen();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' && (error as NodeJS.ErrnoException).code !== 'EACCES')
        throw error;
      // A cleaner has taken the directory away.
      if (this.#directory === used) this.#directory = null;
      return await this.#listen();
    }
  }

  async #listen(): Promise<BridgeSocket> {
    this.#directory ??= makeDirectory().catch((error: unknown) => {
      this.#directory = null;
      throw error;
    });
    return await BridgeSocket.listen(join(await this.#directory, randomUUID().slice(0, 8)));
  }

  /** Removes all of them. May be awaited twice. */
  async close(): Promise<void> {
    const directory = await this.#directory?.catch(() => null);
    this.#directory = null;
    if (typeof directory === 'string') await rm(directory, { recursive: true, force: true });
  }
}

/**
 * Removes the sockets of workers that are dead.
 * @param presence of the workers that share the place, where some of them may be out of sight
 */
export async function removeOrphanSockets(presence: Presence | null = null): Promise<void> {
  for (const place of places()) {
    const names = (await readdir(place).catch(() => [])).filter((name) => name.startsWith(PREFIX));
    const dead = await namesOfTheDead(
      names.map((name) => name.slice(PREFIX.length)),
      presence,
    );
    for (const name of dead) await rm(join(place, PREFIX + name), { recursive: true, force: true });
  }
}

/** The longest path of a socket that the kernel takes, less the byte that ends it. */
const MAX_PATH = 107;
/** The characters that mkdtemp and {@link BridgeSockets.open} put behind a directory's name. */
const LONGEST_NAME = 'XXXXXX/12345678.new';

/**
 * Returns the places for directories of sockets, the best first: one that `TMPDIR` names may have a path too long for any
 * socket.
 */
const places = (): string[] => [...new Set([tmpdir(), '/tmp', '/dev/shm'])];

/**
 * Makes a directory that nobody but this user can enter: whoever reaches a socket calls its function.
 * @throws InstanceError `INSTANCE_START_FAILED` where there is no place for it
 */
async function makeDirectory(): Promise<string> {
  const name = `${PREFIX}${labelOf(await readOwner())}-`;
  let why = '';
  for (const place of places()) {
    const prefix = join(place, name);
    const size = Buffer.byteLength(prefix + LONGEST_NAME);
    if (size > MAX_PATH) {
      why += `; in ${place} its path would have ${size} bytes of ${MAX_PATH}`;
      continue;
    }
    try {
      return await mkdtemp(prefix);
    } catch (error) {
      why += `; ${(error as Error).message}`;
    }
  }
  throw new InstanceError('INSTANCE_START_FAILED', {
    message: `There is no directory for the socket that leads to the server${why}. Set TMPDIR of the worker to a short path that it may write to, such as /tmp.`,
  });
}

/** A socket that listens, on its way from this process to the bridge, which is to take its connections. */
class BridgeSocket {
  readonly path: string;
  readonly #server: Server;

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
  }

  static async listen(path: string): Promise<BridgeSocket> {
    const server = createServer();
    const temporary = `${path}.new`;
    server.listen(temporary);
    await once(server, 'listening');
    // A server that is closed removes its path, and this one is closed here while the bridge goes on with it.
    renameSync(temporary, path);
    return new BridgeSocket(path, server);
  }

  /** The socket's descriptor in this process, to be given to a child. */
  get descriptor(): number {
    return (this.#server as unknown as { readonly _handle: { readonly fd: number } })._handle.fd;
  }

  /** The child has it: here it is closed, so that no connection is taken here. */
  handedOver(): void {
    this.#server.close();
  }

  async remove(): Promise<void> {
    this.#server.close();
    await rm(this.path, { force: true });
  }
}

/** The end of a bridge on this machine. */
export interface BridgeEnd {
  /** The path of the socket that leads to the server. */
  readonly path: string;
  /** Removes the socket. May be awaited twice. */
  remove(): Promise<void>;
}

/** A server in a sandbox without network, reached over the bridge beside it. */
export class BridgedDialer implements Dialer {
  readonly address: { readonly host: string; readonly port: number; readonly socketPath: string };
  readonly #socket: BridgeEnd;
  readonly #channel: Duplex;
  #asked: PromiseWithResolvers<boolean> | null = null;
  #askedPorts: PromiseWithResolvers<readonly number[]> | null = null;
  /** Those who ask after connections, by connection. */
  readonly #askedHandedOn = new Map<string, PromiseWithResolvers<number | null>>();
  /** The beginning of an answer that is not whole. */
  #begun = '';

  /**
   * @param channel asks the bridge whether the server listens
   * @param port of the server, in its sandbox
   */
  constructor(socket: BridgeEnd, channel: Duplex, port: number) {
    this.address = { host: '127.0.0.1', port, socketPath: socket.path };
    this.#socket = socket;
    this.#channel = channel;
    readGuarded(
      channel,
      (bytes) => this.#onAnswer(bytes),
      () => channel.destroy(),
    );
    channel.on('close', () => {
      this.#settle(false);
      this.#askedPorts?.resolve([]);
      for (const asked of this.#askedHandedOn.values()) asked.resolve(null);
    });
  }

  async isListening(withinMs: number): Promise<boolean> {
    if (this.#channel.destroyed) return false;
    // The answer to an earlier question is waited for where it has not come: the bridge answers one after the other.
    const asked = this.#asked ?? this.#ask();
    const { promise: late, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), withinMs);
    try {
      return await Promise.race([asked.promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  async portsInUse(withinMs: number): Promise<readonly number[]> {
    if (this.#channel.destroyed) return [];
    // The bridge answers one after the other, and the two kinds of answers are told apart by that alone.
    await this.isListening(withinMs);
    if (this.#asked !== null || this.#channel.destroyed) return [];
    const asked = Promise.withResolvers<readonly number[]>();
    this.#askedPorts = asked;
    this.#channel.write(ASK_PORTS);
    const timer = setTimeout(() => asked.resolve([]), withinMs);
    try {
      return await asked.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async handedOn(connection: string, withinMs: number): Promise<number | null> {
    if (this.#channel.destroyed) return null;
    const asked = Promise.withResolvers<number | null>();
    this.#askedHandedOn.set(connection, asked);
    this.#channel.write(ASK_HANDED_ON + connection);
    const timer = setTimeout(() => asked.resolve(null), withinMs);
    try {
      return await asked.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#channel.destroy();
    await this.#socket.remove();
  }

  #ask(): PromiseWithResolvers<boolean> {
    this.#asked = Promise.withResolvers();
    this.#channel.write(ASK);
    return this.#asked;
  }

  #onAnswer(bytes: Buffer): void {
    const text = this.#begun + bytes.toString('latin1');
    ANSWERS.lastIndex = 0;
    let end = 0;
    for (let match = ANSWERS.exec(text); match !== null; match = ANSWERS.exec(text)) {
      end = ANSWERS.lastIndex;
      // An answer that was not asked for comes from the function, and there may be more and more of it.
      if (!this.#take(match)) return void this.#channel.destroy();
    }
    this.#begun = text.slice(end);
    if (this.#begun.length > MOST_ANSWER || (this.#begun !== '' && !this.#isAsked)) this.#channel.destroy();
  }

  get #isAsked(): boolean {
    return this.#askedPorts !== null || this.#askedHandedOn.size > 0;
  }

  /** Hands an answer to whoever has asked; false where nobody has. */
  #take([answer, connection, count, ports]: RegExpExecArray): boolean {
    if (connection !== undefined) {
      const asked = this.#askedHandedOn.get(connection);
      this.#askedHandedOn.delete(connection);
      asked?.resolve(Number(count));
      return asked !== undefined;
    }
    if (ports !== undefined) {
      const asked = this.#askedPorts;
      this.#askedPorts = null;
      asked?.resolve(
        ports
          .split(',')
          .map(Number)
          .filter((port) => port > 0),
      );
      return asked !== null;
    }
    const asked = this.#asked;
    this.#settle(answer === 'y');
    return asked !== null;
  }

  #settle(isListening: boolean): void {
    this.#asked?.resolve(isListening);
    this.#asked = null;
  }
}
