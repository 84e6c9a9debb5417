import { randomUUID } from 'node:crypto';
import { describeEnd, instanceEnd } from '../contract/instance-end.ts';
import { readGuarded } from '../contract/intake.ts';
import type { LaunchedProcess } from '../contract/launched-process.ts';
import { FrameReader, parseMeta } from '../protocols/handler/frames.ts';

import { ENGINE_FRAMES, writeFrame } from './engine/wire.ts';
import type { Turns } from './turns.ts';

/** The largest compiled module: some eight times the largest module. */
const MAX_COMPILED_BYTES = 1024 * 1024 * 1024;
/** The time after which a process that has nothing to do ends, ms. */
const IDLE_MS = 5000;
const MAX_REFUSAL_BYTES = 1024 * 1024;
const MAX_MESSAGE = 4096;

export interface CompilerDeps {
  /** Makes its process. */
  readonly launch: (id: string) => Promise<LaunchedProcess>;
  /** The turns of all compilers of a worker. */
  readonly turns: Turns;
  /** The time that one module may take, ms; then the process is killed. */
  readonly limitMs: number;
}

interface Request {
  readonly path: string;
  readonly answer: PromiseWithResolvers<Buffer>;
}

/**
 * Compiles modules of one namespace one after the other, in a process that is killed where one takes too long or too much: a module
 * can be made so that compiling it does.
 */
export class Compiler {
  readonly #deps: CompilerDeps;
  readonly #line: Request[] = [];
  #working: Promise<void> | null = null;
  #process: LaunchedProcess | null = null;
  #idleTimer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(deps: CompilerDeps) {
    this.#deps = deps;
  }

  /**
   * Compiles a module.
   * @param path where its process finds it
   * @throws Error that says why it cannot be compiled
   */
  compile(path: string): Promise<Buffer> {
    const answer = Promise.withResolvers<Buffer>();
    this.#line.push({ path, answer });
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
    return answer.promise;
  }

  /** Ends its process; what waits is refused. May be awaited twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#idleTimer);
    const process = this.#process;
    this.#end();
    await process?.ended;
    await this.#working;
  }

  async #work(): Promise<void> {
    clearTimeout(this.#idleTimer);
    for (let next = this.#line.shift(); next !== undefined; next = this.#line.shift()) {
      try {
        const { path } = next;
        next.answer.resolve(await this.#deps.turns.take(() => this.#compile(path)));
      } catch (error) {
        next.answer.reject(error);
      }
    }
    this.#idleTimer = setTimeout(() => this.#end(), IDLE_MS);
    this.#idleTimer.unref();
  }

  async #compile(path: string): Promise<Buffer> {
    if (this.#isClosed) throw new Error('the worker is stopping');
    this.#process ??= await this.#launch();
    const process = this.#process;
    const { channel } = process;
    if (channel === null) throw new Error('a compiler needs a channel');
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const most = (type: number) => (type === ENGINE_FRAMES.RESULT ? MAX_COMPILED_BYTES : MAX_REFUSAL_BYTES);
    const reader = new FrameReader(most, () => {
      reject(new Error('the worker has no room for what it compiles to'));
      this.#end();
    });
    const take = (chunk: Buffer) => {
      for (const frame of reader.push(chunk)) {
        if (frame.type === ENGINE_FRAMES.RESULT) resolve(frame.payload);
        else reject(new Error(messageOf(parseMeta(frame))));
      }
    };
    const onBroken = (thrown: unknown) => {
      reject(thrown);
      this.#end();
    };
    const { limitMs } = this.#deps;
    const timer = setTimeout(() => {
      reject(new Error(`compiling it takes longer than ${limitMs / 1000} s`));
      this.#end();
    }, limitMs);
    void process.ended.then((status) => {
      const end = instanceEnd(status, false, '');
      const isTooLarge = end.reason === 'out-of-memory';
      reject(new Error(isTooLarge ? 'compiling it takes too much memory' : `its compiler ended (${describeEnd(end)})`));
    });
    const stopReading = readGuarded(channel, take, onBroken);
    try {
      writeFrame(channel, ENGINE_FRAMES.PREPARE, { id: 1, path });
      return await promise;
    } finally {
      clearTimeout(timer);
      stopReading();
      reader.close();
    }
  }

  /** Ends the process; the next module gets another. */
  #end(): void {
    this.#process?.terminate(0);
    this.#process = null;
  }

  async #launch(): Promise<LaunchedProcess> {
    const process = await this.#deps.launch(`wasm-compiler-${randomUUID()}`);
    for (const stream of [process.stdout, process.stderr]) stream.resume();
    void process.ended.then(() => {
      if (this.#process === process) this.#process = null;
    });
    return process;
  }
}

const messageOf = ({ message }: Readonly<Record<string, unknown>>) =>
  typeof message === 'string' ? message.slice(0, MAX_MESSAGE).toWellFormed() : 'its compiler does not say why';
