import type { ErrorData } from '@pilum/core/errors/pilum-error.ts';
import { InstanceError, RequestError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import { layerVariables, placeOfLayer } from '../contract/layers.ts';
import {
  type Call,
  type CallResult,
  type InstanceEnd,
  type RunnableVersion,
  type RuntimeInstance,
  SharedLoss,
} from '../contract/runtime.ts';
import { taskEnvironment } from '../contract/task-environment.ts';
import { brokenOutput } from '../protocols/broken-protocol.ts';
import { OutputCapture } from '../protocols/output/output-capture.ts';
import { contentTypeOf } from '../protocols/stdio/stdio-instance.ts';
import type { EngineLayer, StreamName } from './engine/engine.ts';
import { type CallEnd, EngineEnded, type EngineProcess } from './engine-process.ts';
import type { ModulePlan } from './module-plan.ts';
import { BadNumbers, decodeNumbers, encodeNumbers } from './numbers.ts';
import { StreamedOutput } from './streamed-output.ts';

/** The result of a streamed command, besides what it printed. */
const STREAMED: CallResult = {
  ok: true,
  streamed: true,
  contentType: 'application/json',
  body: Buffer.from('null'),
};
const MEBIBYTE = 1_048_576;
/** The worker's own timer strikes at the deadline; the engine's is for a worker that is held up, ms. */
const AFTER_DEADLINE_MS = 10;

export interface WasmInstanceDeps {
  readonly runnable: RunnableVersion;
  readonly engine: EngineProcess;
  /** Under which the engine has the module ready. */
  readonly key: string;
  readonly plan: ModulePlan;
  readonly layers: readonly EngineLayer[];
  /** Gives up the module, which is not needed here any more. */
  readonly release: () => void;
  /** Lends an engine that is nobody else's, with the module ready, for as long as it is used. */
  readonly alone: <T>(
    signal: AbortSignal,
    use: (engine: EngineProcess, layers: readonly EngineLayer[]) => Promise<T>,
  ) => Promise<T>;
}

/**
 * A slot of an engine for one version: the right to one call at a time. Each call gets an instance and a memory of its
 * own in the engine, and nothing of it is left behind, so that a slot is as good as new after each.
 */
export class WasmInstance implements RuntimeInstance {
  readonly instanceId: string;
  readonly ended: Promise<InstanceEnd>;
  readonly #deps: WasmInstanceDeps;
  readonly #end = Promise.withResolvers<InstanceEnd>();
  #running: { readonly settled: Promise<unknown>; readonly abort: () => void } | null = null;
  readonly #stopping = new AbortController();
  #isStopped = false;
  #hasEnded = false;

  constructor(instanceId: string, deps: WasmInstanceDeps) {
    this.instanceId = instanceId;
    this.#deps = deps;
    this.ended = this.#end.promise;
    void deps.engine.ended.then((end) => this.#finish(end));
  }

  get reusable(): boolean {
    return !this.#isStopped && !this.#hasEnded;
  }

  async call(call: Call): Promise<CallResult> {
    if (this.#running !== null) throw new Error(`instance ${this.instanceId} runs a task already`);
    if (!this.reusable) throw new SharedLoss('The instance was stopped, or its engine has ended.');
    if (call.alone !== true) return await this.#callIn(this.#deps.engine, this.#deps.layers, call);
    const ending = AbortSignal.any([call.signal, this.#stopping.signal]);
    const settled = Promise.withResolvers<void>();
    this.#running = { settled: settled.promise, abort: () => this.#stopping.abort(lost('The instance was stopped.')) };
    try {
      return await this.#deps.alone(ending, async (engine, layers) => {
        ending.throwIfAborted();
        return await this.#callIn(engine, layers, call);
      });
    } catch (error) {
      if (ending.aborted) throw lost('The instance was stopped before it ran the task.');
      if (error instanceof EngineEnded) throw lost(`The instance ended before it ran the task: ${error.message}.`);
      throw error;
    } finally {
      this.#running = null;
      settled.resolve();
    }
  }

  async #callIn(engine: EngineProcess, layers: readonly EngineLayer[], call: Call): Promise<CallResult> {
    const { plan } = this.#deps;
    let payload: Buffer;
    try {
      payload = plan.entry.kind === 'numbers' ? encodeNumbers(plan.entry.type, call.payload) : call.payload;
    } catch (error) {
      if (!(error instanceof BadNumbers)) throw error;
      const message = `The payload cannot be passed: ${error.message}.`;
      return { ok: false, error: new RequestError('VALIDATION_FAILED', { message }).toData() };
    }
    let broken: TaskError | null = null;
    const onBroken = (thrown: unknown) => {
      broken ??= brokenOutput(thrown);
      running.abort();
    };
    const capture = new OutputCapture(onBroken);
    // The engine itself holds back what prints too much, and nobody else.
    capture.throttle.lift();
    capture.begin(call.log);
    // Only a command has output that can be passed on before its end.
    const chunks = plan.entry.kind === 'command' ? call.chunks : null;
    const output = chunks === null ? null : new StreamedOutput(chunks, (bytes) => running.grant(bytes), onBroken);
    // An error that is thrown here is this call's matter alone: the engine is everyone's.
    const onWritten = (stream: StreamName, bytes: Buffer) => {
      try {
        if (stream !== 'chunk') capture.write(stream, stream === 'stderr' ? 'error' : 'info', bytes);
        else if (output?.push(bytes) !== true) engine.terminate();
      } catch (thrown) {
        onBroken(thrown);
      }
    };
    const running = engine.call(this.#messageOf(call, layers, output), payload, onWritten);
    const settled = running.end.catch(() => undefined);
    this.#running = { settled, abort: running.abort };
    call.signal.addEventListener('abort', running.abort, { once: true });
    if (call.signal.aborted) running.abort();
    try {
      const end = await running.end;
      capture.finish();
      if (broken === null) output?.finish();
      if (broken !== null) return { ok: false, error: (broken as TaskError).toData() };
      if (output !== null && end.kind === 'ok') return STREAMED;
      return this.#resultOf(end, capture.lastOutput);
    } catch (error) {
      capture.finish();
      if (!(error instanceof EngineEnded)) throw error;
      const message = `The instance ended while it ran the task: ${error.message}.`;
      throw error.wasShared ? new SharedLoss(message) : lost(message);
    } finally {
      call.signal.removeEventListener('abort', running.abort);
      this.#running = null;
    }
  }

  async check(withinMs: number): Promise<boolean> {
    if (!this.reusable) return false;
    return this.#running !== null || (await this.#deps.engine.check(withinMs));
  }

  /** A module hears of nothing, and has nothing to clean up: its end waits for no grace. */
  async stop(_options: { graceMs: number }): Promise<void> {
    this.#isStopped = true;
    const running = this.#running;
    running?.abort();
    await running?.settled;
    this.#finish({ reason: 'stopped', exitCode: null, signal: null, lastOutput: '' });
    await this.ended;
  }

  #finish(end: InstanceEnd): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#deps.release();
    this.#end.resolve(end);
  }

  #messageOf(call: Call, layers: readonly EngineLayer[], output: StreamedOutput | null) {
    const { runnable, key, plan } = this.#deps;
    const placed = runnable.layers.map(({ id }) => ({ id, directory: placeOfLayer(id) }));
    const { limits, command } = runnable.version.spec;
    return {
      key,
      args: command ?? [plan.fileName],
      env: { ...layerVariables(placed), ...taskEnvironment(runnable, call) },
      layers,
      memoryBytes: plan.memoryBytes,
      outputBytes: limits.outputMiB * MEBIBYTE,
      cpu: limits.cpu,
      streamCredit: output?.creditBytes ?? 0,
      timeoutMs: call.deadlineMs - Date.now() + AFTER_DEADLINE_MS,
    };
  }

  #resultOf(end: CallEnd, stderr: string): CallResult {
    const { entry } = this.#deps.plan;
    if (end.kind === 'ok') {
      if (entry.kind === 'numbers') {
        return { ok: true, contentType: 'application/json', body: decodeNumbers(entry.type, end.body) };
      }
      return { ok: true, contentType: contentTypeOf(end.body), body: end.body };
    }
    if (end.kind === 'aborted') throw lost('The instance was stopped while it ran the task.');
    if (end.kind === 'error') throw lost(`The engine could not run the task: ${end.message}.`);
    return { ok: false, error: this.#failure(end, stderr) };
  }

  #failure(end: Exclude<CallEnd, { kind: 'ok' }>, stderr: string): ErrorData {
    if (end.kind === 'exit') {
      const message = `The command ended with exit code ${end.code}.`;
      const details = { exitCode: end.code, signal: null, stderr };
      return new TaskError('FUNCTION_FAILED', { message, details }).toData();
    }
    const details = { reason: end.message, stderr };
    switch (end.kind) {
      case 'memory':
        return new InstanceError('OUT_OF_MEMORY', { details }).toData();
      case 'output':
        return new InstanceError('OUTPUT_TOO_LARGE').toData();
      case 'timeout':
        return new TaskError('TASK_TIMEOUT', { details }).toData();
      default: {
        const message = `The module failed: ${end.message}.`;
        return new TaskError('FUNCTION_FAILED', { message, details: { type: 'Trap', ...details } }).toData();
      }
    }
  }
}

const lost = (message: string) => new InstanceError('INSTANCE_LOST', { message });
