import { type ChildProcess, spawn } from 'node:child_process';
import { StringDecoder } from 'node:string_decoder';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import { readGuarded } from '../../contract/intake.ts';
import type { FromRelay, NetworkRules, NetworkUse, RelaySettings, ToRelay } from './relay/wire.ts';
import { inOwnNamespace, PROGRAM_PATH, type RelayPrograms } from './relay-programs.ts';

/** The time in which the relay has to answer, ms. */
const ANSWER_LIMIT_MS = 15_000;
/** The longest line of a relay, UTF-16 units: no answer of one is nearly as long. */
const MOST_LINE = 65_536;
/** Characters of its last words that are kept. */
const MOST_WORDS = 2000;

export interface RelayOptions {
  readonly nodePath: string;
  /** The main file of its program. */
  readonly program: string;
  readonly programs: RelayPrograms;
  readonly settings: RelaySettings;
  /** uid and gid to run as; null for the worker's own. */
  readonly uid: number | null;
  readonly logger: Logger;
}

/** A network in the relay. */
export interface MadeInRelay {
  readonly id: number;
  /** The file that stands for it, for whoever enters it. */
  readonly path: string;
}

const NO_USE: NetworkUse = { connections: 0, sentBytes: 0, receivedBytes: 0, refusals: 0, refused: [] };

/**
 * The relay of a worker, as the worker has it: a process of another user, or of none in particular, that goes out for every
 * instance that has a relayed network.
 */
export class RelayProcess {
  /** Resolves when it has ended: every network of it is then closed for good. */
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, PromiseWithResolvers<FromRelay>>();
  readonly #uses = new Map<number, NetworkUse>();
  #lastId = 0;
  #hasEnded = false;
  #held = '';
  #words = '';

  constructor({ nodePath, program, programs, settings, uid, logger }: RelayOptions) {
    const node = [nodePath, '--disable-warning=ExperimentalWarning', '--max-old-space-size=256', program];
    const [file = '', ...args] = inOwnNamespace(programs, node);
    this.#child = spawn(file, args, {
      cwd: '/',
      env: { PATH: PROGRAM_PATH },
      stdio: ['pipe', 'pipe', 'pipe'],
      // A process group of its own, so that a signal to the worker's terminal is not one to it.
      detached: true,
      ...(uid === null ? {} : { uid, gid: uid }),
    });
    const { stdin, stdout, stderr } = this.#child;
    stdin?.on('error', ignore);
    const onBroken = (thrown: unknown) => this.#giveUp(thrown instanceof Error ? thrown.message : String(thrown));
    const decoder = new StringDecoder();
    if (stdout !== null) readGuarded(stdout, (chunk) => this.#take(decoder.write(chunk)), onBroken);
    const addWords = (chunk: Buffer) => {
      this.#words = (this.#words + chunk.toString()).slice(-MOST_WORDS);
    };
    if (stderr !== null) readGuarded(stderr, addWords, onBroken);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    const over = (error: Error | null) => {
      if (this.#hasEnded) return;
      this.#hasEnded = true;
      const why = error?.message ?? this.#words.trim().split('\n').at(-1) ?? '';
      if (!this.#isClosed) logEvent(logger, 'relay-ended', { why });
      for (const { reject } of this.#waiting.values()) reject(relayFailed(why));
      this.#waiting.clear();
      resolve();
    };
    this.#child.once('error', over);
    this.#child.once('close', () => over(null));
    this.#tell({ kind: 'settings', settings });
  }

  #isClosed = false;

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The user namespace that its networks belong to, for whoever is not root and enters one. */
  get userNamespace(): string {
    return `/proc/${this.#child.pid}/ns/user`;
  }

  /** Makes a network in which everything is closed. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
  async make(): Promise<MadeInRelay> {
    const id = ++this.#lastId;
    const made = await this.#ask({ kind: 'make', id }, 'made');
    if (made.kind !== 'made' || !Number.isSafeInteger(made.descriptor)) throw relayFailed('no network came');
    return { id, path: `/proc/${this.#child.pid}/fd/${made.descriptor}` };
  }

  /** Takes the connections of a network that somebody else has made. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
  async listen(path: string): Promise<number> {
    const id = ++this.#lastId;
    await this.#ask({ kind: 'listen', id, path }, 'made');
    return id;
  }

  /** Opens what rules say. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
  async open(id: number, rules: NetworkRules): Promise<void> {
    await this.#ask({ kind: 'open', id, rules }, 'opened');
  }

  /** Returns what was used since the network was made, a moment ago where the relay does not say. */
  async askUse(id: number): Promise<NetworkUse> {
    const answer = await this.#ask({ kind: 'ask-use', id }, 'use').catch(() => null);
    return answer?.kind === 'use' ? answer.use : this.lastUse(id);
  }

  /** Returns what the relay has said last. */
  lastUse(id: number): NetworkUse {
    return this.#uses.get(id) ?? NO_USE;
  }

  /** Closes a network. */
  drop(id: number): void {
    this.#uses.delete(id);
    this.#tell({ kind: 'drop', id });
  }

  /** Ends it and waits. May be awaited twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  #tell(message: ToRelay): void {
    this.#child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  async #ask(message: Extract<ToRelay, { id: number }>, awaited: FromRelay['kind']): Promise<FromRelay> {
    if (this.#hasEnded) throw relayFailed('it has ended');
    const key = `${awaited} ${message.id}`;
    const waiting = this.#waiting.get(key) ?? Promise.withResolvers<FromRelay>();
    const isFirst = !this.#waiting.has(key);
    this.#waiting.set(key, waiting);
    const limit = setTimeout(() => this.#giveUp('it did not answer'), ANSWER_LIMIT_MS);
    try {
      if (isFirst) this.#tell(message);
      return await waiting.promise;
    } finally {
      clearTimeout(limit);
    }
  }

  /** Ends one that does not answer, or is not our program any more: another one takes its place. */
  #giveUp(why: string): void {
    this.#words += `\n${why}`;
    this.#child.kill('SIGKILL');
  }

  /** Takes what it wrote. @throws Error for what our program does not write */
  #take(text: string): void {
    const lines = (this.#held + text).split('\n');
    this.#held = lines.pop() ?? '';
    if (this.#held.length > MOST_LINE) throw new Error('a line of it has no end');
    for (const line of lines) this.#hear(JSON.parse(line) as FromRelay);
  }

  #hear(message: FromRelay): void {
    const { id, kind } = message;
    if (kind === 'use') {
      const use = checked(message.use);
      this.#uses.set(id, use);
      if (message.isAnswer) this.#settle(`use ${id}`, { ...message, use });
      return;
    }
    if (kind !== 'failed') {
      this.#settle(`${kind} ${id}`, message);
      return;
    }
    for (const key of [`made ${id}`, `opened ${id}`]) {
      this.#waiting.get(key)?.reject(relayFailed(String(message.message).slice(0, MOST_WORDS)));
      this.#waiting.delete(key);
    }
  }

  #settle(key: string, message: FromRelay): void {
    this.#waiting.get(key)?.resolve(message);
    this.#waiting.delete(key);
  }
}

/** Reads what a relay says was used. @throws Error for what is no such thing */
function checked({ connections, sentBytes, receivedBytes, refusals, refused }: NetworkUse): NetworkUse {
  const numbers = [connections, sentBytes, receivedBytes, refusals];
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0))
    throw new Error('a number of it is none');
  return {
    connections,
    sentBytes,
    receivedBytes,
    refusals,
    refused: refused.map((text) => String(text).slice(0, 300)),
  };
}

const relayFailed = (why: string) =>
  new RuntimeError('RUNTIME_UNAVAILABLE', {
    message: `No network could be made for the instance: ${why || 'the relay has ended'}.`,
  });

/** Its end says more. */
function ignore(): void {}
