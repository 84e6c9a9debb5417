import { setTimeout as sleep } from 'node:timers/promises';
import { InstanceError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import type { Dialer } from '../../contract/dialer.ts';
import { commandFault, describeEnd, errorOfEnd, failureOfEnd, instanceEnd } from '../../contract/instance-end.ts';
import type { LaunchedProcess } from '../../contract/launched-process.ts';
import type { Call, CallResult, InstanceEnd, RunnableVersion, RuntimeInstance } from '../../contract/runtime.ts';
import { brokenOutput } from '../broken-protocol.ts';
import { OutputCapture } from '../output/output-capture.ts';
import { ConnectionLost, ServerClient } from './server-client.ts';

/** The pause between two looks whether the server listens, ms: a small part of what an interpreter takes to start. */
const LOOK_INTERVAL_MS = 10;
/** A look that takes longer is given up, and followed by another, ms. */
const LOOK_LIMIT_MS = 1000;
/**
 * The longest time from a lost connection to the end of the process that had it, ms; a server that lives on has only closed
 * it.
 */
const END_WITHIN_MS = 1000;
/** The time that a bridge may take to say what became of a request, ms. */
const ASK_LIMIT_MS = 1000;
/** The time that the bridge may take to say what listens, where a start has failed already, ms. */
const LAST_LOOK_MS = 500;

/**
 * A server that listens on `$PORT`: a call is a request to it. A server may be sent several requests at a time, where its
 * version says so.
 */
export class HttpInstance implements RuntimeInstance {
  readonly instanceId: string;
  readonly ended: Promise<InstanceEnd>;
  readonly #runnable: RunnableVersion;
  readonly #process: LaunchedProcess;
  readonly #dialer: Dialer;
  readonly #client: ServerClient;
  readonly #capture = new OutputCapture((thrown) => this.#onBroken(thrown));
  /** The running calls in the order in which they began, with the moment of each. */
  readonly #calls = new Map<Call, number>();
  /** The moment at which the server last said anything. */
  #heardAtMs = performance.now();
  /** Calls that left without an answer since then. */
  #unanswered = 0;
  #check: Promise<boolean> | null = null;
  #end: InstanceEnd | null = null;
  #stopped = false;
  /** The error of a server that has printed what could not be taken. */
  #broken: TaskError | null = null;
  #loadMs = 0;

  constructor(instanceId: string, runnable: RunnableVersion, launched: LaunchedProcess, dialer: Dialer) {
    const { limits, pool } = runnable.version.spec;
    this.instanceId = instanceId;
    this.#runnable = runnable;
    this.#process = launched;
    this.#dialer = dialer;
    this.#client = new ServerClient(dialer.address, {
      connections: pool.concurrency,
      limitBytes: limits.outputMiB * 1024 * 1024,
      throttle: this.#capture.throttle,
      ...(dialer.handedOn === undefined
        ? {}
        : { handedOn: (connection) => dialer.handedOn?.(connection, ASK_LIMIT_MS) ?? Promise.resolve(null) }),
      onHeard: () => this.#onHeard(),
    });
    this.#capture.attach(launched.stdout, 'stdout');
    this.#capture.attach(launched.stderr, 'stderr');
    this.ended = this.#watch();
  }

  get reusable(): boolean {
    return this.#end === null && !this.#stopped && this.#broken === null;
  }

  get loadMs(): number {
    return this.#loadMs;
  }

  /**
   * Resolves when the server takes connections, and its health path, where it has one, is answered.
   * @throws InstanceError `INSTANCE_START_FAILED`, after the instance is gone
   */
  async ready(signal: AbortSignal): Promise<void> {
    const since = performance.now();
    while (!signal.aborted && this.#end === null) {
      if (await this.#isWell(LOOK_LIMIT_MS, signal)) {
        this.#loadMs = performance.now() - since;
        return;
      }
      await Promise.race([sleep(LOOK_INTERVAL_MS), this.ended]);
    }
    const byItself = this.#end;
    const ports = byItself === null ? await this.#dialer.portsInUse(LAST_LOOK_MS) : [];
    this.#process.terminate(0);
    throw this.#startFailure(await this.ended, byItself === null, ports, signal.reason);
  }

  async call(call: Call): Promise<CallResult> {
    if (!this.reusable) {
      this.#process.terminate(0);
      throw errorOfEnd(await this.ended);
    }
    this.#calls.set(call, performance.now());
    this.#capture.begin(call.log);
    try {
      return await this.#client.call(call, call.signal);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      return await this.#lost(error);
    } finally {
      this.#calls.delete(call);
      // Output that the server printed before it answered is in the pipes, and is read in this turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
      const last = [...this.#calls.keys()].at(-1);
      if (last === undefined) this.#capture.finish();
      else this.#capture.begin(last.log);
    }
  }

  /**
   * A call is a connection, which ends alone where the server has several. One that lets a call run out of its time and says
   * nothing to anybody meanwhile is stuck, and so is one of which as many left without an answer as it may have at a time.
   */
  outlives(taskId: string, isTimeout: boolean): boolean {
    const { concurrency } = this.#runnable.version.spec.pool;
    if (concurrency === 1 || !this.reusable) return false;
    const [, sinceMs] = [...this.#calls].find(([call]) => call.taskId === taskId) ?? [];
    if (sinceMs === undefined || this.#heardAtMs > sinceMs) return true;
    this.#unanswered++;
    return !isTimeout && this.#unanswered <= concurrency;
  }

  async check(withinMs: number): Promise<boolean> {
    if (!this.reusable) return false;
    if (this.#calls.size > 0) return true;
    this.#check ??= this.#isWell(withinMs).finally(() => {
      this.#check = null;
    });
    return await this.#check;
  }

  async stop({ graceMs }: { graceMs: number }): Promise<void> {
    this.#stopped = true;
    this.#process.terminate(graceMs);
    await this.ended;
  }

  #onHeard(): void {
    this.#heardAtMs = performance.now();
    this.#unanswered = 0;
  }

  async #isWell(withinMs: number, signal?: AbortSignal): Promise<boolean> {
    const { healthPath } = this.#runnable.version.spec.http ?? {};
    const since = performance.now();
    if (!(await this.#dialer.isListening(withinMs))) return false;
    if (healthPath === undefined) return true;
    return await this.#client.isHealthy(healthPath, Math.max(1, withinMs - (performance.now() - since)), signal);
  }

  /** A connection was lost: the server has ended, or has closed it and lives. */
  async #lost({ hasAnswered, message }: ConnectionLost): Promise<CallResult> {
    const end = await Promise.race([this.ended, sleep(END_WITHIN_MS, null)]);
    if (this.#broken !== null) return { ok: false, error: this.#broken.toData() };
    const failure = end === null ? null : failureOfEnd(end);
    if (failure !== null) return { ok: false, error: failure.toData() };
    if (end !== null) throw errorOfEnd(end);
    const what = hasAnswered ? 'before its answer was whole' : 'before it had answered';
    const error = new TaskError('FUNCTION_FAILED', {
      message: `The server closed the connection ${what}.`,
      details: { reason: message },
    });
    return { ok: false, error: error.toData() };
  }

  async #watch(): Promise<InstanceEnd> {
    const status = await this.#process.ended;
    await this.#capture.drain();
    this.#end = instanceEnd(status, this.#stopped, this.#capture.lastOutput);
    await this.#client.close();
    await this.#dialer.close();
    return this.#end;
  }

  #onBroken(thrown: unknown): void {
    this.#broken ??= brokenOutput(thrown);
    this.#process.terminate(0);
  }

  #startFailure(end: InstanceEnd, isLate: boolean, ports: readonly number[], reason: unknown): InstanceError {
    const { exitCode, signal, lastOutput: output } = end;
    const { command, http } = this.#runnable.version.spec;
    const { port } = this.#dialer.address;
    const elsewhere = ports.filter((other) => other !== port);
    const details = {
      port,
      ...(isLate ? { listeningOn: ports } : {}),
      exitCode: isLate ? null : exitCode,
      signal: isLate ? null : signal,
      output,
    };
    const isNotWell = http?.healthPath !== undefined && ports.includes(port);
    const lastLine = output.trim().split('\n').at(-1);
    const said = lastLine === undefined || lastLine === '' ? '' : `: ${lastLine}`;
    const message = isLate
      ? isNotWell
        ? `The server listens on port ${port}, and did not answer GET ${http?.healthPath} with 200 to 399 before its start was given up${said}`
        : `The server did not listen on $PORT (${port}) before its start was given up${heardOn(elsewhere)}${said}`
      : end.reason === 'out-of-memory'
        ? 'The server ran out of memory before it listened; raise limits.memoryMiB.'
        : (commandFault(end, command?.[0]) ??
          `The server ended before it listened on $PORT (${port}; ${describeEnd(end)})${said}`);
    return new InstanceError('INSTANCE_START_FAILED', { message, details, cause: reason });
  }
}

/** Says on which ports a server listens that was looked for in vain. */
function heardOn(ports: readonly number[]): string {
  if (ports.length === 0) return '';
  const first = ports[0] ?? 0;
  return `; it listens on ${ports.join(', ')}: have it listen on $PORT, or say {"http": {"port": ${first}}}`;
}
