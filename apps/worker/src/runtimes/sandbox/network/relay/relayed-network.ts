import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { connect, createServer, isIP, type Server, type Socket } from 'node:net';
import { type Endpoint, type Family, originalDestination } from './libc.ts';
import { type Names, printable } from './names.ts';
import type { MadeNetwork } from './namespace-thread.ts';
import { Policy, type Verdict } from './policy.ts';
import {
  GOES_ON,
  MOST_HEADER_BYTES,
  NAME_PORT,
  type NetworkRules,
  type NetworkUse,
  RELAY_ADDRESS,
  REMEMBERED_REFUSALS,
} from './wire.ts';
import { familyOf, type World } from './world.ts';

/** Connections that one instance may have at once, and all of a worker's together. */
const MOST_CONNECTIONS = 256;
const MOST_IN_ALL = 4096;
/** Questions for names that one instance may have under way. */
const MOST_QUESTIONS = 32;
/** The time in which a connection has to come about, ms. */
const CONNECT_LIMIT_MS = 30_000;
/** The longest question over TCP, bytes. */
const MOST_QUESTION_BYTES = 1024;

let connectionsInAll = 0;

/** A node handle's descriptor, which Node says nowhere else. */
interface WithHandle {
  readonly _handle?: { readonly fd?: number };
}

/**
 * One network: takes every connection of an instance that leaves it, and makes another one to where it was to go, if that is
 * open. Closed until it is opened.
 */
export class RelayedNetwork {
  readonly #made: MadeNetwork | null;
  readonly #world: World;
  readonly #names: Names;
  readonly #servers: Server[];
  readonly #questions: Datagrams | null;
  readonly #pairs = new Set<{ readonly inner: Socket; readonly outer: Socket }>();
  #policy: Policy;
  #underWay = 0;
  #connections = 0;
  #sentBytes = 0;
  #receivedBytes = 0;
  #refusals = 0;
  #refused: string[] = [];

  /** @param from the network, or the path of a socket where connections come from one that somebody else has made */
  constructor(from: MadeNetwork | string, world: World, names: Names) {
    this.#made = typeof from === 'string' ? null : from;
    this.#world = world;
    this.#names = names;
    this.#policy = new Policy({ isPublicOpen: false, targets: [] }, world);
    if (typeof from === 'string') {
      this.#servers = [this.#listenAt(from)];
      this.#questions = null;
      return;
    }
    this.#servers = [this.#listen('ipv4', from.tcp4), this.#listen('ipv6', from.tcp6)];
    this.#questions = createSocket('udp4', (message, { address, port }) => void this.#ask(message, address, port));
    this.#questions.on('error', ignore);
    this.#questions.bind({ fd: from.names });
  }

  /** The descriptor that stands for it. */
  get descriptor(): number {
    return this.#made?.network ?? -1;
  }

  /** Resolves when connections are taken. */
  async ready(): Promise<void> {
    await Promise.all(this.#servers.map((server) => (server.listening ? undefined : once(server, 'listening'))));
  }

  /** Opens what a version's rules say, in place of what was open before. */
  open(rules: NetworkRules): void {
    this.#policy = new Policy(rules, this.#world);
  }

  use(): NetworkUse {
    let sentBytes = this.#sentBytes;
    let receivedBytes = this.#receivedBytes;
    for (const { outer } of this.#pairs) {
      sentBytes += outer.bytesWritten;
      receivedBytes += outer.bytesRead;
    }
    const { refusals, refused } = { refusals: this.#refusals, refused: this.#refused };
    return { connections: this.#connections, sentBytes, receivedBytes, refusals, refused };
  }

  /** Ends everything of it. */
  close(): void {
    for (const server of this.#servers) server.close();
    this.#questions?.close();
    for (const { inner, outer } of this.#pairs) {
      inner.destroy();
      outer.destroy();
    }
    if (this.#made !== null) closeSync(this.#made.network);
  }

  #listen(family: Family, descriptor: number): Server {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) =>
      this.#take(family, socket),
    );
    // Where there are no more descriptors it goes on when there are.
    server.on('error', ignore);
    return server.listen({ fd: descriptor });
  }

  #take(family: Family, inner: Socket): void {
    inner.on('error', ignore);
    const descriptor = (inner as WithHandle)._handle?.fd;
    const to = descriptor === undefined ? null : originalDestination(family, descriptor);
    if (to === null) inner.resetAndDestroy();
    else this.#takeTo(inner, to);
  }

  /** Listens where connections come whose first line says where they were to go. */
  #listenAt(path: string): Server {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', ignore);
      let held: Buffer = Buffer.alloc(0);
      const read = (chunk: Buffer) => {
        held = Buffer.concat([held, chunk]);
        const end = held.indexOf('\n');
        if (end < 0 && held.length <= MOST_HEADER_BYTES) return;
        socket.off('data', read).pause();
        const to = end < 0 ? null : readEndpoint(held.subarray(0, end).toString());
        if (to === null) {
          socket.destroy();
          return;
        }
        if (held.length > end + 1) socket.unshift(held.subarray(end + 1));
        this.#takeTo(socket, to);
      };
      socket.on('data', read);
    });
    server.on('error', ignore);
    return server.listen({ path, writableAll: true });
  }

  #takeTo(inner: Socket, to: Endpoint): void {
    if (to.address === RELAY_ADDRESS.ipv4 && to.port === NAME_PORT) {
      this.#takeQuestions(inner);
      return;
    }
    const verdict = this.#judge(to);
    if (verdict.isOpen) this.#dial(inner, to, verdict.others);
    else {
      this.#refuse(sayEndpoint(to));
      reset(inner);
    }
  }

  #judge(to: Endpoint): Verdict {
    if (this.#pairs.size >= MOST_CONNECTIONS) return { isOpen: false, why: 'too many connections of this instance' };
    if (connectionsInAll >= MOST_IN_ALL) return { isOpen: false, why: 'too many connections of this worker' };
    return this.#policy.admit(to.address, to.port);
  }

  /** Makes the other connection; to another address of the same name where the first one is not reached, as programs do. */
  #dial(inner: Socket, to: Endpoint, others: readonly string[]): void {
    const outer = connect({ host: to.address, port: to.port, allowHalfOpen: true, noDelay: true });
    const pair = { inner, outer };
    this.#pairs.add(pair);
    connectionsInAll++;
    let isConnected = false;
    let isOver = false;
    const over = () => {
      if (isOver) return;
      isOver = true;
      this.#pairs.delete(pair);
      connectionsInAll--;
      this.#sentBytes += isConnected ? outer.bytesWritten : 0;
      this.#receivedBytes += outer.bytesRead;
    };
    const limit = setTimeout(() => outer.destroy(new Error('not in time')), CONNECT_LIMIT_MS);
    outer.once('connect', () => {
      clearTimeout(limit);
      isConnected = true;
      this.#connections++;
      goOn(inner);
      inner.pipe(outer);
      outer.pipe(inner);
    });
    outer.on('error', () => {
      clearTimeout(limit);
      over();
      const [next, ...rest] = isConnected ? [] : others.filter((other) => familyOf(other) === familyOf(to.address));
      if (next === undefined || inner.destroyed) reset(inner);
      else if (this.#policy.admit(next, to.port).isOpen) this.#dial(inner, { address: next, port: to.port }, rest);
      else reset(inner);
    });
    outer.once('close', () => {
      clearTimeout(limit);
      over();
    });
    inner.once('error', () => outer.resetAndDestroy());
    inner.once('close', () => {
      // Else the other end has yet to take what came, and its own end follows.
      if (inner.readableEnded) return;
      over();
      outer.resetAndDestroy();
    });
  }

  async #ask(message: Buffer, address: string, port: number): Promise<void> {
    if (this.#underWay >= MOST_QUESTIONS) return;
    this.#underWay++;
    try {
      const answer = await this.#names.answer(message, this.#policy, (what) => this.#refuse(what));
      if (answer !== null) this.#questions?.send(answer, port, address, ignore);
    } catch {
      // The network has been closed.
    } finally {
      this.#underWay--;
    }
  }

  /** Answers questions over TCP, one after the other: each has its length before it. */
  #takeQuestions(socket: Socket): void {
    let held: Buffer = Buffer.alloc(0);
    let turn = Promise.resolve();
    goOn(socket);
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      while (held.length >= 2) {
        const length = held.readUInt16BE();
        if (length > MOST_QUESTION_BYTES || this.#underWay >= MOST_QUESTIONS) {
          reset(socket);
          return;
        }
        if (held.length < 2 + length) return;
        const message = held.subarray(2, 2 + length);
        held = held.subarray(2 + length);
        this.#underWay++;
        turn = turn.then(async () => {
          try {
            const answer = await this.#names.answer(message, this.#policy, (what) => this.#refuse(what));
            if (answer === null) reset(socket);
            else socket.write(Buffer.concat([Buffer.from([answer.length >> 8, answer.length & 255]), answer]));
          } finally {
            this.#underWay--;
          }
        });
      }
    });
    socket.on('end', () => socket.end());
    socket.resume();
  }

  #refuse(what: string): void {
    this.#refusals++;
    this.#refused = [...this.#refused, printable(what)].slice(-REMEMBERED_REFUSALS);
  }
}

/** Ends a connection so that its other end knows that it was no proper end, where it is one of TCP. */
function reset(socket: Socket): void {
  if (socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}

/** Tells the other end of a connection that is none of TCP that it goes on. */
function goOn(socket: Socket): void {
  if (socket.remoteAddress === undefined) socket.write(Buffer.of(GOES_ON));
}

function readEndpoint(line: string): Endpoint | null {
  const [address = '', port] = line.split(' ');
  return isIP(address) === 0 || !/^\d{1,5}$/.test(port ?? '') ? null : { address, port: Number(port) };
}

const sayEndpoint = ({ address, port }: Endpoint) =>
  familyOf(address) === 'ipv6' ? `[${shortened(address)}]:${port}` : `${address}:${port}`;

const shortened = (address: string) => new URL(`http://[${address}]/`).hostname.slice(1, -1);

/** Whoever is at the other end has gone; its close says so. */
function ignore(): void {}
