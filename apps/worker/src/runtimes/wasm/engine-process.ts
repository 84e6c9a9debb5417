import type { Duplex } from 'node:stream';
import { callNumber } from '../contract/call-number.ts';
import { describeEnd, instanceEnd } from '../contract/instance-end.ts';
import { readGuarded } from '../contract/intake.ts';
import type { LaunchedProcess } from '../contract/launched-process.ts';
import type { InstanceEnd } from '../contract/runtime.ts';
import { BadFrame, type Frame, FrameReader, parseMeta } from '../protocols/handler/frames.ts';
import { OutputCapture } from '../protocols/output/output-capture.ts';
import { FAILURE_KINDS, type FailureKind, type ModuleSource, STREAMS, type StreamName } from './engine/engine.ts';
import { type CallMessage, ENGINE_FRAMES, type HelloMessage, type PrepareMessage, writeFrame } from './engine/wire.ts';

/** The largest frames of an engine's process, which is trusted no more than a function. */
const MAX_FRAME_BYTES: Readonly<Record<number, number>> = {
  [ENGINE_FRAMES.HELLO]: 4096,
  [ENGINE_FRAMES.READY]: 4096,
  [ENGINE_FRAMES.FAILED]: 64 * 1024,
  [ENGINE_FRAMES.RESULT]: 65 * 1024 * 1024,
  [ENGINE_FRAMES.WRITTEN]: 1024 * 1024,
  [ENGINE_FRAMES.PONG]: 1024,
};
const MAX_MESSAGE = 4096;
/** The time from an abort to the end of the call, ms; an engine that takes longer is ended itself. */
const ABORT_LIMIT_MS = 5000;
/** Engines count calls in 32 bits. */
const ENGINE_NUMBERS = 2 ** 32;
/** The cost of a frame of no call in the engine's budget, beside its bytes. */
const FOREIGN_COST = 64;
/** The number of questions in a row without an answer after which the engine is ended. */
const SILENT_ASKS = 2;

/** The end of a call, as the process told it. */
export type CallEnd =
  | { readonly kind: 'ok'; readonly body: Buffer }
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: FailureKind; readonly message: string };

export type OnWritten = (stream: StreamName, bytes: Buffer) => void;

/** A call that runs. */
export interface EngineCallHandle {
  readonly end: Promise<CallEnd>;
  /** Lets it write so many bytes more of its streamed output. */
  grant(bytes: number): void;
  abort(): void;
}

interface RunningCall {
  readonly onWritten: OnWritten;
  readonly resolve: (end: CallEnd) => void;
  readonly reject: (error: unknown) => void;
  abortTimer: NodeJS.Timeout | undefined;
}

/** The error of an engine whose process is gone, or is not what it should be. */
export class EngineEnded extends Error {
  /** More than one call, or module, was in it. */
  readonly wasShared: boolean;

  constructor(message: string, wasShared: boolean) {
    super(message);
    this.wasShared = wasShared;
  }
}

/** The process of one engine, as its worker sees it: modules are prepared, called and released, many at a time. */
export class EngineProcess {
  /** The engine's words on itself; rejected where it ended before it could say them. */
  readonly hello: Promise<HelloMessage>;
  /** Resolves once, when it is gone. */
  readonly ended: Promise<InstanceEnd>;
  readonly #process: LaunchedProcess;
  readonly #channel: Duplex;
  readonly #capture = new OutputCapture(() => this.terminate());
  readonly #reader = new FrameReader(
    (type) => MAX_FRAME_BYTES[type] ?? 0,
    () => this.terminate(),
  );
  readonly #hello = Promise.withResolvers<HelloMessage>();
  readonly #preparing = new Map<number, PromiseWithResolvers<void>>();
  readonly #running = new Map<number, RunningCall>();
  readonly #pongs: ((isWell: boolean) => void)[] = [];
  #check: Promise<boolean> | null = null;
  #silentAsks = 0;
  #hasEnded = false;
  #isStopped = false;

  constructor(launched: LaunchedProcess) {
    if (launched.channel === null) throw new Error('an engine needs a channel');
    this.#process = launched;
    this.#channel = launched.channel;
    this.hello = this.#hello.promise;
    this.hello.catch(() => {});
    this.#capture.attach(launched.stdout, 'stdout');
    this.#capture.attach(launched.stderr, 'stderr');
    this.#capture.attachChannel(this.#channel);
    readGuarded(
      this.#channel,
      (chunk) => {
        for (const frame of this.#reader.push(chunk)) this.#onFrame(frame);
      },
      () => {
        this.#channel.destroy();
        this.terminate();
      },
    );
    this.ended = this.#watch();
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Makes a module ready to be called by its key. @throws Error that says why it cannot be; EngineEnded */
  async prepare(key: string, source: ModuleSource): Promise<void> {
    this.#throwIfEnded();
    const id = this.#newId();
    const answer = Promise.withResolvers<void>();
    this.#preparing.set(id, answer);
    writeFrame(this.#channel, ENGINE_FRAMES.PREPARE, { id, key, ...source } satisfies PrepareMessage);
    await answer.promise;
  }

  /** Forgets a module. */
  release(key: string): void {
    if (!this.#hasEnded) writeFrame(this.#channel, ENGINE_FRAMES.RELEASE, { key });
  }

  /**
   * Begins a call.
   * @returns its end, which is rejected with EngineEnded where the process ends under it
   */
  call(message: Omit<CallMessage, 'id'>, payload: Buffer, onWritten: OnWritten): EngineCallHandle {
    this.#throwIfEnded();
    const id = this.#newId();
    const { promise: end, resolve, reject } = Promise.withResolvers<CallEnd>();
    const running: RunningCall = { onWritten, resolve, reject, abortTimer: undefined };
    this.#running.set(id, running);
    writeFrame(this.#channel, ENGINE_FRAMES.CALL, { ...message, id } satisfies CallMessage, payload);
    return {
      end,
      grant: (bytes) => {
        if (this.#running.has(id)) writeFrame(this.#channel, ENGINE_FRAMES.GRANT, { id, bytes });
      },
      abort: () => {
        if (running.abortTimer !== undefined || !this.#running.has(id)) return;
        writeFrame(this.#channel, ENGINE_FRAMES.ABORT, { id });
        running.abortTimer = setTimeout(() => this.terminate(), ABORT_LIMIT_MS);
      },
    };
  }

  /** Tells whether the engine answers within so many ms. One that does not, twice in a row, is ended. */
  check(withinMs: number): Promise<boolean> {
    if (this.#hasEnded) return Promise.resolve(false);
    this.#check ??= this.#ping(withinMs);
    return this.#check;
  }

  /** Ends it, and every call. */
  terminate(): void {
    this.#process.terminate(0);
  }

  /** Ends it and waits until it is gone. May be awaited twice. */
  async close(): Promise<void> {
    this.#isStopped = true;
    this.terminate();
    await this.ended;
  }

  #newId(): number {
    return callNumber(ENGINE_NUMBERS, (id) => this.#running.has(id) || this.#preparing.has(id));
  }

  async #ping(withinMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    // Where this process itself was held up for as long, it first reads what has come meanwhile.
    const timer = setTimeout(() => setImmediate(() => resolve(false)), withinMs);
    this.#pongs.push(resolve);
    writeFrame(this.#channel, ENGINE_FRAMES.PING, {});
    const isWell = await promise;
    clearTimeout(timer);
    this.#check = null;
    this.#silentAsks = isWell ? 0 : this.#silentAsks + 1;
    if (this.#silentAsks >= SILENT_ASKS) this.terminate();
    return isWell;
  }

  #onFrame(frame: Frame): void {
    const meta = parseMeta(frame);
    const id = idOf(frame, meta);
    switch (frame.type) {
      case ENGINE_FRAMES.WRITTEN: {
        const stream = STREAMS.find((known) => known === meta.stream);
        if (stream === undefined) throw new BadFrame(frame.type, false, 'there is no such stream');
        const running = this.#running.get(id);
        // A call that is over may still send a few; an engine that has more is none that may be read on and on.
        if (running === undefined) this.#capture.throttle.spend(FOREIGN_COST + frame.payload.length);
        else running.onWritten(stream, frame.payload);
        break;
      }
      case ENGINE_FRAMES.RESULT:
        this.#settle(id, callEnd(meta, frame.payload));
        break;
      case ENGINE_FRAMES.READY:
        this.#preparing.get(id)?.resolve();
        this.#preparing.delete(id);
        break;
      case ENGINE_FRAMES.FAILED:
        this.#preparing.get(id)?.reject(new Error(textOf(meta.message)));
        this.#preparing.delete(id);
        break;
      case ENGINE_FRAMES.PONG:
        for (const resolve of this.#pongs.splice(0)) resolve(true);
        break;
      case ENGINE_FRAMES.HELLO: {
        const engine = meta.engine === 'wasmtime' ? 'wasmtime' : 'v8';
        this.#hello.resolve({ engine, version: textOf(meta.version), compatibility: textOf(meta.compatibility) });
      }
    }
  }

  #settle(id: number, end: CallEnd): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    clearTimeout(running.abortTimer);
    running.resolve(end);
  }

  async #watch(): Promise<InstanceEnd> {
    const status = await this.#process.ended;
    this.#hasEnded = true;
    await this.#capture.drain();
    this.#reader.close();
    const end = instanceEnd(status, this.#isStopped, this.#capture.lastOutput);
    const wasShared = this.#running.size + this.#preparing.size > 1;
    const error = new EngineEnded(`the engine's process has ended (${describeEnd(end)})${lastLineOf(end)}`, wasShared);
    this.#hello.reject(error);
    for (const { reject } of this.#preparing.values()) reject(error);
    for (const { reject, abortTimer } of this.#running.values()) {
      clearTimeout(abortTimer);
      reject(error);
    }
    this.#preparing.clear();
    this.#running.clear();
    for (const resolve of this.#pongs.splice(0)) resolve(false);
    return end;
  }

  #throwIfEnded(): void {
    if (this.#hasEnded) throw new EngineEnded("the engine's process has ended", true);
  }
}

function callEnd(meta: Record<string, unknown>, body: Buffer): CallEnd {
  if (meta.kind === 'ok') return { kind: 'ok', body };
  if (meta.kind === 'exit') return { kind: 'exit', code: exitCodeOf(meta.code) };
  const kind = FAILURE_KINDS.find((known) => known === meta.kind) ?? 'error';
  return { kind, message: textOf(meta.message) };
}

const exitCodeOf = (code: unknown) => (typeof code === 'number' && Number.isSafeInteger(code) ? code : -1);

function lastLineOf({ lastOutput }: InstanceEnd): string {
  const line = lastOutput.trim().split('\n').at(-1);
  return line === undefined || line === '' ? '' : `: ${line}`;
}

/** HELLO and PONG are answers to no number. */
function idOf({ type }: Frame, { id }: Readonly<Record<string, unknown>>): number {
  if (type === ENGINE_FRAMES.HELLO || type === ENGINE_FRAMES.PONG) return 0;
  if (typeof id === 'number' && Number.isSafeInteger(id) && id > 0) return id;
  throw new BadFrame(type, false, 'its id is not the number of a call');
}

const textOf = (value: unknown) => (typeof value === 'string' ? value.slice(0, MAX_MESSAGE).toWellFormed() : '');
