import type { Duplex } from 'node:stream';
import { abortable } from '@pilum/core/async/abortable.ts';
import type { ErrorData } from '@pilum/core/errors/pilum-error.ts';
import { InstanceError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import { countChunks, FRAME_LIMIT_BYTES } from '@pilum/core/schemas/frame.ts';
import type { Network } from '@pilum/core/spec/networks.ts';
import { callNumber } from '../../contract/call-number.ts';
import { stopReasonOf } from '../../contract/call-stopped.ts';
import { describeEnd, errorOfEnd, failureOfEnd, instanceEnd } from '../../contract/instance-end.ts';
import { readGuarded } from '../../contract/intake.ts';
import type { LaunchedProcess } from '../../contract/launched-process.ts';
import type { Call, CallResult, InstanceEnd, RunnableVersion, RuntimeInstance } from '../../contract/runtime.ts';
import { brokenProtocol } from '../broken-protocol.ts';
import { HttpAnswer } from '../http/http-answer.ts';
import { withNetworkHint } from '../network-hint.ts';
import { OutputCapture } from '../output/output-capture.ts';
import {
  BadFrame,
  CHUNK_WINDOW_BYTES,
  encodeFrame,
  FRAME_TYPES,
  type Frame,
  FrameReader,
  frameHead,
} from './frames.ts';
import { functionError } from './function-error.ts';
import { type HandlerMessage, MAX_PROGRESS, readHandlerMessage } from './handler-message.ts';

/** The facts that the bootstrap needs to load the handler. */
export interface LoadRequest {
  readonly entry: string;
  readonly env: Readonly<Record<string, string>>;
  readonly codeDirectory: string;
  /** Directories in which modules are looked for that the code does not have. */
  readonly layers: readonly string[];
  readonly limits: { readonly outputBytes: number };
}

/** The most bytes of a result's meta: the type of its bytes, or the head of an answer. */
const RESULT_META = 256 * 1024;
/** Text of a record, of an error or of headers, with every character written as JSON may write it. */
const LONG_META = 512 * 1024;
/** The number of a call, and little more. */
const SHORT_META = 1024;
const MAX_META: Readonly<Record<number, number>> = {
  [FRAME_TYPES.RESULT]: RESULT_META,
  [FRAME_TYPES.ERROR]: LONG_META,
  [FRAME_TYPES.LOG]: LONG_META,
  [FRAME_TYPES.HEAD]: LONG_META,
};
/** Output that is printed comes in frames of so many bytes at most. */
const MAX_PRINTED = 64 * 1024;
/** All frames but results and chunks, without those of output. */
const MAX_SMALL_FRAME = LONG_META + SHORT_META;
/** The largest frame between calls: printed output, and what is on its way of a call that is over. */
const MAX_IDLE_FRAME = MAX_PRINTED + SHORT_META;
const SMALL: ReadonlySet<number> = new Set([FRAME_TYPES.READY, FRAME_TYPES.ERROR, FRAME_TYPES.LOG, FRAME_TYPES.HEAD]);
/** The size up to which a copy is cheaper than a second system call, bytes. */
const ONE_WRITE_BYTES = 64 * 1024;
/** Credit that is worth a message, bytes. */
const CREDIT_BYTES = CHUNK_WINDOW_BYTES / 4;
/**
 * The cost of a frame in the instance's budget, whatever its type; one with more meta costs as much as the meta has bytes.
 */
const FRAME_COST = 64;
/**
 * The cost of a frame of chunks, which goes on to Redis and to readers. The bootstraps put together what comes within a
 * millisecond.
 */
const CHUNK_FRAME_COST = 256;
/** The time for the last words of an instance that could not load its code, ms. */
const LAST_WORDS_MS = 2000;

type Of<K extends HandlerMessage['kind']> = Extract<HandlerMessage, { readonly kind: K }>;
/** A message with the number of a call. */
type MessageOfCall = Extract<HandlerMessage, { readonly id: number }>;

interface RunningCall {
  readonly id: number;
  readonly call: Call;
  readonly resolve: (result: CallResult) => void;
  readonly reject: (error: Error) => void;
  /** Bytes of chunks that came and were not credited. */
  uncredited: number;
  /** The sink has asked to wait. */
  isHeld: boolean;
  /** The result of the call has come. */
  isSettled: boolean;
  /** The answer of a web endpoint whose head has come. */
  answer: HttpAnswer | null;
}

/** An interpreter with a handler loaded, which answers one call after another over its channel. */
export class HandlerInstance implements RuntimeInstance {
  readonly instanceId: string;
  readonly ended: Promise<InstanceEnd>;
  /** The facts of the version that every call's context has. */
  readonly #about: { readonly namespace: string; readonly artifactId: string; readonly version: number };
  readonly #network: Network;
  readonly #process: LaunchedProcess;
  readonly #channel: Duplex;
  readonly #capture = new OutputCapture((thrown) => this.#onBroken(thrown));
  readonly #reader: FrameReader;
  readonly #loaded = Promise.withResolvers<void>();
  #isLoaded = false;
  #running: RunningCall | null = null;
  /** Pings that have no answer yet: also those whose time has run out. */
  #pings = 0;
  #check: { readonly answer: Promise<boolean>; readonly settle: (isWell: boolean) => void } | null = null;
  #reusable = true;
  #loadMs = 0;
  #stopped = false;
  /** The instance has sent what cannot be taken, and is on its way out. */
  #isBroken = false;
  /** The instance has said that it ends for a reason that is none of the running call's. */
  #endsOfAnother = false;
  /** The exit code with which the instance has said that it ends by its own doing; null where it has not. */
  #ownExit: number | null = null;

  constructor(instanceId: string, runnable: RunnableVersion, launched: LaunchedProcess) {
    if (launched.channel === null) throw new Error('a handler instance needs a channel');
    const { namespace, version } = runnable;
    const outputBytes = version.spec.limits.outputMiB * 1024 * 1024;
    this.instanceId = instanceId;
    this.#about = { namespace, artifactId: version.artifactId, version: version.version };
    this.#network = version.spec.limits.network;
    this.#process = launched;
    this.#channel = launched.channel;
    const limits = {
      frame: (type: number) => this.#mostBytes(type, outputBytes),
      meta: (type: number) => MAX_META[type] ?? SHORT_META,
    };
    this.#reader = new FrameReader(limits, () => this.#onEvicted());
    this.#capture.attach(launched.stdout, 'stdout');
    this.#capture.attach(launched.stderr, 'stderr');
    this.#capture.attachChannel(this.#channel);
    readGuarded(
      this.#channel,
      (chunk) => {
        for (const frame of this.#reader.push(chunk)) this.#onFrame(frame);
      },
      (thrown) => this.#onBroken(thrown),
    );
    this.#loaded.promise.catch(() => {});
    this.ended = this.#watch();
  }

  get reusable(): boolean {
    return this.#reusable;
  }

  get loadMs(): number {
    return this.#loadMs;
  }

  /**
   * Loads the code.
   * @throws InstanceError `INSTANCE_START_FAILED`, after the instance is gone
   */
  async load(request: LoadRequest, signal: AbortSignal): Promise<void> {
    const since = performance.now();
    try {
      signal.throwIfAborted();
      this.#channel.write(encodeFrame(FRAME_TYPES.LOAD, request));
      await abortable(this.#loaded.promise, signal);
      this.#loadMs = performance.now() - since;
    } catch (thrown) {
      throw await this.#startFailure(thrown, signal.aborted);
    }
  }

  async call(call: Call): Promise<CallResult> {
    if (this.#running !== null) throw new Error(`instance ${this.instanceId} runs a task already`);
    if (!this.#reusable) {
      this.#process.terminate(0);
      throw errorOfEnd(await this.ended);
    }
    const { promise, resolve, reject } = Promise.withResolvers<CallResult>();
    const id = callNumber();
    this.#running = { id, call, resolve, reject, uncredited: 0, isHeld: false, isSettled: false, answer: null };
    this.#capture.begin(call.log);
    const { taskId, attempt, deadlineMs, contentType, headers, http, traceparent, payload } = call;
    const about = { taskId, attempt, deadlineMs, contentType, headers, traceparent };
    const meta = {
      id,
      ...this.#about,
      ...about,
      ...(http === null ? {} : { http }),
      ...(call.chunks === null ? {} : { stream: true }),
    };
    if (payload.length <= ONE_WRITE_BYTES) this.#channel.write(encodeFrame(FRAME_TYPES.CALL, meta, payload));
    else {
      this.#channel.cork();
      this.#channel.write(frameHead(FRAME_TYPES.CALL, meta, payload.length));
      this.#channel.write(payload);
      this.#channel.uncork();
    }
    const onAbort = () => this.#tellStop(id, call.signal.reason);
    if (call.signal.aborted) onAbort();
    else call.signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      call.signal.removeEventListener('abort', onAbort);
    }
  }

  async check(withinMs: number): Promise<boolean> {
    if (!this.#reusable) return false;
    if (this.#running !== null) return true;
    this.#check ??= this.#ping(withinMs);
    return await this.#check.answer;
  }

  async stop({ graceMs }: { graceMs: number }): Promise<void> {
    this.#stopped = true;
    this.#reusable = false;
    this.#process.terminate(graceMs);
    await this.ended;
  }

  #ping(withinMs: number): { answer: Promise<boolean>; settle: (isWell: boolean) => void } {
    const { promise: answer, resolve } = Promise.withResolvers<boolean>();
    // Where this process itself was held up for as long, it first reads what the instance has sent meanwhile.
    const timer = setTimeout(() => setImmediate(() => settle(false)), withinMs);
    const settle = (isWell: boolean) => {
      clearTimeout(timer);
      if (this.#check?.settle === settle) this.#check = null;
      resolve(isWell);
    };
    this.#pings++;
    this.#channel.write(encodeFrame(FRAME_TYPES.PING, {}));
    return { answer, settle };
  }

  #onPong(): void {
    if (this.#pings === 0) throw new BadFrame(FRAME_TYPES.PONG, false);
    this.#pings--;
    // The answer to a ping that was given up is none to the one after it.
    if (this.#pings === 0) this.#check?.settle(true);
  }

  /** Tells a call that it is to stop, before the SIGTERM, from which a function in Python learns it. */
  #tellStop(id: number, reason: unknown): void {
    this.#channel.write(encodeFrame(FRAME_TYPES.ABORT, { id, ...stopReasonOf(reason) }));
  }

  #onFrame(frame: Frame): void {
    this.#charge(frame);
    const message = readHandlerMessage(frame);
    if ('id' in message) {
      const running = this.#running;
      if (running !== null && message.id === running.id) {
        this.#onFrameOf(running, message, frame.payload);
        return;
      }
      // The frame of a call that is over or never was; only that of a start has another number, which is 0.
      this.#capture.throttle.spend(frame.payload.length);
      if (message.kind === 'error' && message.id === 0) this.#loaded.reject(functionError(message.fields));
      return;
    }
    switch (message.kind) {
      case 'output':
        this.#capture.write(message.stream, message.level, frame.payload);
        break;
      case 'ready':
        this.#isLoaded = true;
        this.#loaded.resolve();
        break;
      case 'pong':
        this.#onPong();
        break;
      case 'lost':
        this.#endsOfAnother = true;
        this.#reusable = false;
        break;
      case 'exits':
        this.#ownExit = message.exitCode;
        this.#reusable = false;
    }
  }

  /** Takes a frame of the call that runs. */
  #onFrameOf(running: RunningCall, message: MessageOfCall, payload: Buffer): void {
    switch (message.kind) {
      case 'record':
        this.#capture.record(message.level, message.text, message.fields);
        break;
      case 'error':
        this.#onError(running, message);
        break;
      case 'chunk':
        this.#onChunk(running, payload);
        break;
      case 'progress':
        this.#capture.throttle.spend(payload.length);
        running.call.progress(message.json);
        break;
      case 'head':
        this.#onHead(running, message);
        break;
      case 'result': {
        const { contentType, streamed, head, fatal } = message;
        // An earlier call has left it in an unknown state: it ends by itself now.
        if (fatal) this.#reusable = false;
        this.#settle(running, {
          ok: true,
          contentType,
          body: payload,
          ...(streamed ? { streamed } : {}),
          ...(head === undefined ? {} : { head }),
        });
      }
    }
  }

  /**
   * Returns the size of what an instance may have begun to send: large while a call waits for its result, small between
   * calls.
   */
  #mostBytes(type: number, outputBytes: number): number {
    const running = this.#running;
    const most = mostInCall(type, outputBytes);
    const isIdle = this.#isLoaded && (running === null || running.isSettled);
    return isIdle ? Math.min(most, MAX_IDLE_FRAME) : most;
  }

  /** Charges a frame as it is read, before anything is known of it but its size; payloads by whoever takes them. */
  #charge({ type, meta }: Frame): void {
    const least = type === FRAME_TYPES.CHUNK ? CHUNK_FRAME_COST : FRAME_COST;
    this.#capture.throttle.spend(Math.max(least, meta.length));
  }

  #onError(running: RunningCall, { fatal, fields }: Of<'error'>): void {
    const error = functionError(fields);
    // The instance ends by itself now, or has too little memory to go on.
    if (fatal || error.code === 'OUT_OF_MEMORY') this.#reusable = false;
    this.#settle(running, { ok: false, error: withNetworkHint(error, this.#network) });
  }

  /** Takes the head of a web endpoint's answer, which comes before the chunks and waits for nobody's room. */
  #onHead(running: RunningCall, { head }: Of<'head'>): void {
    const { chunks, http } = running.call;
    if (http === null || chunks === null || running.answer !== null)
      throw new BadFrame(FRAME_TYPES.HEAD, false, 'no head is due');
    running.answer = new HttpAnswer(chunks, 0);
    running.answer.begin(head);
  }

  /** Passes on a piece of output, and lets the function on as far as whoever takes it allows. */
  #onChunk(running: RunningCall, payload: Buffer): void {
    const { chunks, http } = running.call;
    // The chunks of a web endpoint follow its head.
    const sink = http === null ? chunks : running.answer;
    const count = countChunks(payload);
    if (chunks === null || sink === null) throw new BadFrame(FRAME_TYPES.CHUNK, false, 'no chunk is due');
    if (count === null) throw new BadFrame(FRAME_TYPES.CHUNK, false, 'its payload is not made of chunks');
    running.uncredited += payload.length;
    // The instance does not wait for credit, and what it sends would pile up here.
    if (running.uncredited > CHUNK_WINDOW_BYTES + FRAME_LIMIT_BYTES + SHORT_META) {
      throw new BadFrame(FRAME_TYPES.CHUNK, false, 'it did not wait until the ones before it were taken');
    }
    const wait = sink.take({ bytes: payload, count });
    if (running.isHeld) return;
    if (wait === null) {
      if (running.uncredited >= CREDIT_BYTES) this.#credit(running);
      return;
    }
    running.isHeld = true;
    wait.then(
      () => {
        running.isHeld = false;
        if (this.#running === running) this.#credit(running);
      },
      (thrown: unknown) => this.#onBroken(thrown),
    );
  }

  #credit(running: RunningCall): void {
    this.#channel.write(encodeFrame(FRAME_TYPES.CREDIT, { id: running.id, bytes: running.uncredited }));
    running.uncredited = 0;
  }

  #settle(running: RunningCall, result: CallResult): void {
    if (running.isSettled) return;
    running.isSettled = true;
    // Output that native code and children wrote before is in the pipes, and is read in this turn of the event loop.
    setImmediate(() => {
      if (this.#running !== running) return;
      // Its last lines and its answer are taken now, and may be what cannot be.
      running.isSettled = false;
      this.#capture.finish();
      if (this.#running !== running) return;
      try {
        const whole = result.ok && running.answer !== null ? running.answer.end() : result;
        running.answer?.close();
        this.#running = null;
        if (!result.ok && result.error.code === 'OUT_OF_MEMORY') {
          running.reject(new InstanceError('OUT_OF_MEMORY', { details: result.error.details }));
        } else running.resolve(whole);
      } catch (thrown) {
        this.#onBroken(thrown);
      }
    });
  }

  /**
   * The function has written to our channel, has returned more than it may, or has sent what cannot be taken. None of it can
   * be gone on from, and all of it is its own doing: its call fails, and the instance goes.
   */
  #onBroken(thrown: unknown): void {
    this.#end(
      thrown instanceof BadFrame &&
        thrown.tooLarge &&
        thrown.type === FRAME_TYPES.RESULT &&
        this.#running?.isSettled === false
        ? new InstanceError('OUTPUT_TOO_LARGE')
        : brokenProtocol(thrown),
    );
  }

  /** Ends an instance that has begun a frame, and not gone on with it while others needed the room. */
  #onEvicted(): void {
    const message = 'The instance was ended: it had sent half of a frame, and the worker needed the room for others.';
    this.#end(new InstanceError('INSTANCE_LOST', { message }));
  }

  #end(error: InstanceError | TaskError): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#reusable = false;
    this.#check?.settle(false);
    this.#channel.destroy();
    this.#reader.close();
    this.#process.terminate(0);
    this.#loaded.reject(error);
    // A result that has come stands, whatever came after it.
    if (this.#running?.isSettled !== true) this.#fail(error);
  }

  #fail(error: Error): void {
    const running = this.#running;
    this.#running = null;
    this.#capture.finish();
    running?.answer?.close();
    if (error instanceof TaskError) running?.resolve({ ok: false, error: error.toData() });
    else running?.reject(error);
  }

  async #watch(): Promise<InstanceEnd> {
    const status = await this.#process.ended;
    this.#reusable = false;
    this.#check?.settle(false);
    await this.#capture.drain();
    // One more turn for a result that came with the last bytes.
    await new Promise((resolve) => setImmediate(resolve));
    this.#reader.close();
    // Where it is sandboxed, an exit code above 128 looks like a signal from outside.
    const own = this.#ownExit === null ? {} : { exitCode: this.#ownExit, signal: null };
    const end = instanceEnd({ ...status, ...own }, this.#stopped, this.#capture.lastOutput);
    this.#loaded.reject(end);
    const running = this.#running;
    if (running === null) return end;
    const failure = this.#endsOfAnother ? null : failureOfEnd(end);
    if (failure === null) this.#fail(errorOfEnd(end));
    else {
      this.#running = null;
      this.#capture.finish();
      running.answer?.close();
      running.resolve({ ok: false, error: failure.toData() });
    }
    return end;
  }

  /** Ends what is left of a start, and says why it failed. */
  async #startFailure(thrown: unknown, aborted: boolean): Promise<InstanceError> {
    // The instance ends by itself after an error of its own, and what it prints until then may say more.
    if (!aborted && isErrorData(thrown)) {
      const timer = setTimeout(() => this.#process.terminate(0), LAST_WORDS_MS);
      await this.ended;
      clearTimeout(timer);
    } else this.#process.terminate(0);
    const end = await this.ended;
    const output = end.lastOutput;
    const details = { exitCode: end.exitCode, signal: end.signal, output };
    const failed = (message: string, more = {}) =>
      new InstanceError('INSTANCE_START_FAILED', { message, details: { ...more, ...details } });
    if (aborted) {
      const message = 'The start was aborted before the instance was ready.';
      return new InstanceError('INSTANCE_START_FAILED', { message, details, cause: thrown });
    }
    if (isErrorData(thrown)) {
      const isEntry = thrown.details?.type === 'Entry';
      return failed(isEntry ? String(thrown.details?.message) : thrown.message, thrown.details);
    }
    if (end.reason === 'out-of-memory') {
      return failed('The instance ran out of memory before it was ready; raise limits.memoryMiB.');
    }
    const lines = output.trim().split('\n');
    // Python's last lines say where it was, and not what was wrong.
    const lastLine = lines.find((line) => line.startsWith('Fatal Python error: ')) ?? lines.at(-1);
    return failed(
      `The instance ended before it was ready (${describeEnd(end)})${lastLine ? `: ${lastLine}` : ''}`,
      thrown instanceof Error ? { reason: thrown.message } : {},
    );
  }
}

/** 0 for what may not come. */
function mostInCall(type: number, outputBytes: number): number {
  if (type === FRAME_TYPES.RESULT) return outputBytes + RESULT_META;
  if (type === FRAME_TYPES.PONG) return SHORT_META;
  if (type === FRAME_TYPES.CHUNK) return FRAME_LIMIT_BYTES + SHORT_META;
  if (type === FRAME_TYPES.PROGRESS) return MAX_PROGRESS + SHORT_META;
  return SMALL.has(type) ? MAX_SMALL_FRAME : 0;
}

const isErrorData = (value: unknown): value is ErrorData =>
  typeof value === 'object' && value !== null && !(value instanceof Error) && 'code' in value;
