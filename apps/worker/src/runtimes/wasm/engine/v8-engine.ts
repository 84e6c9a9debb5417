import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { capModule } from './capped-module.ts';
import type { Engine, EngineCall, EngineOutcome, ModuleSource, OnWrite } from './engine.ts';
import type { ThreadMessage, ThreadModule, ThreadOrder } from './v8-thread.ts';

/** Threads that are kept though nobody uses them; one that was ended is made up for at once. */
const SPARE_THREADS = 2;
/** More than those are kept so long after their last use, ms. */
const IDLE_MS = 10_000;
/** The limits for a thread's JavaScript, of which there is next to none, MiB. A guest's memory is none of it. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8, stackSizeMb: 4 };
/** Beside this file, and of its kind. */
const THREAD_FILE = new URL(`./v8-thread${extname(import.meta.url)}`, import.meta.url);

interface Running {
  readonly thread: Thread;
  /**
   * The bytes that may still be written of a streamed output: the thread takes from them, and sleeps where there are none.
   */
  readonly credit: Int32Array<SharedArrayBuffer> | null;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (outcome: EngineOutcome) => void;
}

interface Thread {
  readonly worker: Worker;
  /** Keys of the modules that it has. */
  readonly modules: Set<string>;
  idleTimer: NodeJS.Timeout | undefined;
}

/** V8, in threads: what runs on one cannot be interrupted, so that what must end takes its thread with it. */
export class V8Engine implements Engine {
  readonly name = 'v8';
  readonly version = process.versions.v8;
  readonly compatibility = process.versions.v8;
  readonly #maxCalls: number;
  readonly #onWrite: OnWrite;
  readonly #modules = new Map<string, ThreadModule>();
  readonly #running = new Map<number, Running>();
  readonly #threads = new Set<Thread>();
  readonly #idle: Thread[] = [];
  #isClosed = false;

  /** @param maxCalls calls that run at the same time */
  constructor(maxCalls: number, onWrite: OnWrite) {
    this.#maxCalls = maxCalls;
    this.#onWrite = onWrite;
    this.#fill();
  }

  async prepare(key: string, { path, entry, memoryBytes }: ModuleSource): Promise<void> {
    if (this.#modules.has(key)) return;
    const module = await WebAssembly.compile(new Uint8Array(capModule(await readFile(path), memoryBytes)));
    this.#modules.set(key, { module, entry });
  }

  run(call: EngineCall): Promise<EngineOutcome> {
    return this.#call(call);
  }

  invoke(call: EngineCall): Promise<EngineOutcome> {
    return this.#call(call);
  }

  abort(id: number): void {
    this.#end(id, { kind: 'aborted', message: 'it was stopped' });
  }

  grant(id: number, bytes: number): void {
    const credit = this.#running.get(id)?.credit;
    if (credit === undefined || credit === null) return;
    Atomics.add(credit, 0, bytes);
    Atomics.notify(credit, 0);
  }

  release(key: string): void {
    this.#modules.delete(key);
    for (const thread of this.#threads) if (thread.modules.delete(key)) tell(thread, { kind: 'forget', key });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const id of this.#running.keys()) this.abort(id);
    await Promise.all(this.#idle.splice(0).map(({ worker }) => worker.terminate()));
  }

  #call(call: EngineCall): Promise<EngineOutcome> {
    const prepared = this.#modules.get(call.key);
    if (prepared === undefined)
      return Promise.resolve({ kind: 'error', message: `nothing is prepared as ${call.key}` });
    if (this.#running.size >= this.#maxCalls) {
      return Promise.resolve({ kind: 'error', message: `${this.#maxCalls} calls run already` });
    }
    const { id, key, args, env, layers, memoryBytes, outputBytes, streamCredit, timeoutMs } = call;
    const thread = this.#idle.pop() ?? this.#makeThread();
    clearTimeout(thread.idleTimer);
    const { promise, resolve } = Promise.withResolvers<EngineOutcome>();
    const timer = setTimeout(
      () => this.#end(id, { kind: 'timeout', message: 'it ran past its time limit' }),
      Math.max(0, timeoutMs),
    );
    const credit = streamCredit === 0 ? null : new Int32Array(new SharedArrayBuffer(4)).fill(streamCredit);
    this.#running.set(id, { thread, credit, timer, resolve });
    if (!thread.modules.has(key)) {
      thread.modules.add(key);
      tell(thread, { kind: 'module', key, prepared });
    }
    const payload = new Uint8Array(call.payload);
    const limits = { memoryBytes, outputBytes, credit };
    tell(thread, { kind: 'call', id, key, payload, args, env, layers, ...limits }, [payload.buffer]);
    return promise;
  }

  #makeThread(): Thread {
    const worker = new Worker(THREAD_FILE, { resourceLimits: RESOURCE_LIMITS, env: {} });
    const thread: Thread = { worker, modules: new Set(), idleTimer: undefined };
    this.#threads.add(thread);
    worker.on('message', (message: ThreadMessage) => {
      if (message.kind === 'written') this.#onWrite(message.id, message.stream, message.bytes);
      else this.#settle(message.id, message.outcome);
    });
    worker.on('error', (error: NodeJS.ErrnoException) => {
      const kind = error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'memory' : 'error';
      for (const [id, running] of this.#running) {
        if (running.thread === thread) this.#end(id, { kind, message: error.message });
      }
    });
    worker.on('exit', () => {
      this.#threads.delete(thread);
      const index = this.#idle.indexOf(thread);
      if (index >= 0) this.#idle.splice(index, 1);
    });
    return thread;
  }

  /** A call has ended by itself, and its thread can be used again. */
  #settle(id: number, outcome: EngineOutcome): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    clearTimeout(running.timer);
    const { thread } = running;
    this.#idle.push(thread);
    if (this.#idle.length > SPARE_THREADS) thread.idleTimer = setTimeout(() => this.#retire(thread), IDLE_MS);
    running.resolve(outcome);
  }

  /** Ends a call, and its thread. */
  #end(id: number, outcome: EngineOutcome): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    clearTimeout(running.timer);
    void running.thread.worker.terminate().then(() => {
      running.resolve(outcome);
      this.#fill();
    });
  }

  #retire(thread: Thread): void {
    const index = this.#idle.indexOf(thread);
    if (index < 0 || this.#idle.length <= SPARE_THREADS) return;
    this.#idle.splice(index, 1);
    void thread.worker.terminate();
  }

  #fill(): void {
    while (!this.#isClosed && this.#idle.length < SPARE_THREADS) this.#idle.push(this.#makeThread());
  }
}

function tell({ worker }: Thread, order: ThreadOrder, transfer: ArrayBuffer[] = []): void {
  worker.postMessage(order, transfer);
}
