import { isUtf8 } from 'node:buffer';
import type { Readable } from 'node:stream';
import { InstanceError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import { packFrame } from '@pilum/core/schemas/frame.ts';
import { HeldBytes } from '../../contract/held-bytes.ts';
import { commandFault, describeEnd, errorOfEnd, instanceEnd } from '../../contract/instance-end.ts';
import { readGuarded } from '../../contract/intake.ts';
import type { LaunchedProcess } from '../../contract/launched-process.ts';
import type {
  Call,
  CallResult,
  ChunkSink,
  InstanceEnd,
  RunnableVersion,
  RuntimeInstance,
} from '../../contract/runtime.ts';
import { taskEnvironment } from '../../contract/task-environment.ts';
import { brokenOutput } from '../broken-protocol.ts';
import { withNetworkHint } from '../network-hint.ts';
import { OutputCapture } from '../output/output-capture.ts';
import { type Piece, TextOrBytes } from '../output/text-or-bytes.ts';
import { Gate, type Throttle } from '../output/throttle.ts';

/**
 * The cost of a read of stdout in the instance's budget, however little there was in it; and where it goes on to readers at
 * once.
 */
const READ_COST = 32;
const CHUNK_COST = 256;
const NO_ROOM =
  'The command was ended: it had printed a part of its result, and the worker needed the room for others.';
/** Above this a result is not looked at for JSON: parsing would hold up the worker, and bytes are bytes. */
const MAX_JSON_LOOK = 1024 * 1024;

/**
 * A command that runs once for one task: payload on stdin, result on stdout, log on stderr. Its environment says what
 * the task is, so the process begins with the call.
 */
export class StdioInstance implements RuntimeInstance {
  readonly instanceId: string;
  readonly reusable = false;
  readonly ended: Promise<InstanceEnd>;
  readonly #runnable: RunnableVersion;
  readonly #launch: (env: Record<string, string>) => Promise<LaunchedProcess>;
  readonly #end = Promise.withResolvers<InstanceEnd>();
  readonly #capture = new OutputCapture((thrown) => this.#onBroken(thrown));
  #process: LaunchedProcess | null = null;
  /** The error of a command that has printed what could not be taken. */
  #broken: TaskError | null = null;
  #called = false;
  /** Set by the first `stop`; it counts for a process that is only being started as well. */
  #stopGraceMs: number | null = null;

  constructor(
    instanceId: string,
    runnable: RunnableVersion,
    launch: (env: Record<string, string>) => Promise<LaunchedProcess>,
  ) {
    this.instanceId = instanceId;
    this.#runnable = runnable;
    this.#launch = launch;
    this.ended = this.#end.promise;
  }

  async call(call: Call): Promise<CallResult> {
    if (this.#called || this.#stopGraceMs !== null) {
      throw new InstanceError('INSTANCE_LOST', { message: 'The instance was stopped, or has run its task.' });
    }
    this.#called = true;
    try {
      this.#process = await this.#launch(taskEnvironment(this.#runnable, call));
    } catch (error) {
      this.#end.resolve({ reason: 'exited', exitCode: null, signal: null, lastOutput: '' });
      throw error;
    }
    if (this.#stopGraceMs !== null) this.#process.terminate(this.#stopGraceMs);
    return await this.#run(this.#process, call);
  }

  /** Resolves at once: the process begins with the call, and before that nothing could be sick. */
  check(): Promise<boolean> {
    return Promise.resolve(this.#stopGraceMs === null);
  }

  async stop({ graceMs }: { graceMs: number }): Promise<void> {
    this.#stopGraceMs = Math.min(graceMs, this.#stopGraceMs ?? graceMs);
    if (!this.#called) this.#end.resolve({ reason: 'stopped', exitCode: null, signal: null, lastOutput: '' });
    this.#process?.terminate(graceMs);
    await this.ended;
  }

  async #run(launched: LaunchedProcess, call: Call): Promise<CallResult> {
    const { outputMiB } = this.#runnable.version.spec.limits;
    const limit = outputMiB * 1024 * 1024;
    this.#capture.attach(launched.stderr, 'stderr');
    this.#capture.begin(call.log);
    let wasEvicted = false;
    const output = new HeldBytes(() => {
      wasEvicted = true;
      launched.terminate(0);
    });
    let size = 0;
    const onBroken = (thrown: unknown) => this.#onBroken(thrown);
    const { throttle } = this.#capture;
    if (call.chunks !== null) passOn(launched.stdout, call.chunks, throttle, onBroken);
    else {
      throttle.add(launched.stdout);
      const take = (chunk: Buffer) => {
        throttle.spend(READ_COST);
        size += chunk.length;
        if (size <= limit && !wasEvicted) output.push(chunk);
        else if (size - chunk.length <= limit) launched.terminate(0);
      };
      readGuarded(launched.stdout, take, onBroken);
    }
    const stdoutClosed = new Promise<void>((resolve) => launched.stdout.once('close', () => resolve()));
    launched.stdin?.end(call.payload);
    const status = await launched.ended;
    await Promise.all([this.#capture.drain(), stdoutClosed]);
    this.#capture.finish();
    const body = output.take();
    const end = instanceEnd(status, this.#stopGraceMs !== null, this.#capture.lastOutput);
    this.#end.resolve(end);
    if (this.#broken !== null) return { ok: false, error: this.#broken.toData() };
    if (size > limit) throw new InstanceError('OUTPUT_TOO_LARGE');
    if (wasEvicted) throw new InstanceError('INSTANCE_LOST', { message: NO_ROOM });
    if (end.reason !== 'exited') throw errorOfEnd(end);
    if (end.exitCode !== 0) return { ok: false, error: this.#failure(end) };
    if (call.chunks !== null) {
      return { ok: true, streamed: true, contentType: 'application/json', body: Buffer.from('null') };
    }
    return { ok: true, contentType: contentTypeOf(body), body };
  }

  #onBroken(thrown: unknown): void {
    this.#broken ??= brokenOutput(thrown);
    // Nobody reads it any more, and its end is waited for.
    this.#process?.stdout.resume();
    this.#process?.terminate(0);
  }

  #failure(end: InstanceEnd) {
    const { exitCode, signal, lastOutput } = end;
    const details = { exitCode, signal, stderr: lastOutput };
    const [command] = this.#runnable.version.spec.command ?? [];
    const fault = commandFault(end, command);
    if (fault !== null) return new InstanceError('INSTANCE_START_FAILED', { message: fault, details }).toData();
    const message = `The command ended with ${describeEnd(end)}.`;
    const { network } = this.#runnable.version.spec.limits;
    return withNetworkHint(new TaskError('FUNCTION_FAILED', { message, details }).toData(), network);
  }
}

/** Passes on what a command prints, as it comes; it waits where whoever takes it asks to, and where its budget is used up. */
function passOn(stdout: Readable, chunks: ChunkSink, throttle: Throttle, onBroken: (thrown: unknown) => void): void {
  const pieces = new TextOrBytes();
  const gate = new Gate(stdout);
  throttle.add(gate.reason());
  const sink = gate.reason();
  const give = (piece: Piece | null) => {
    const wait = piece === null ? null : chunks.take(packFrame(piece.kind, piece.payload));
    if (wait === null) return;
    sink.pause();
    wait.then(sink.resume, onBroken);
  };
  const take = (chunk: Buffer) => {
    throttle.spend(CHUNK_COST);
    give(pieces.push(chunk));
  };
  readGuarded(stdout, take, onBroken);
  stdout.once('end', () => {
    try {
      give(pieces.rest());
    } catch (thrown) {
      onBroken(thrown);
    }
  });
}

/** Returns the content type of the bytes that a command printed. */
export function contentTypeOf(body: Buffer): string {
  if (!isUtf8(body)) return 'application/octet-stream';
  if (body.length <= MAX_JSON_LOOK) {
    try {
      JSON.parse(body.toString('utf8'));
      return 'application/json';
    } catch {
      // Text, then.
    }
  }
  return 'text/plain; charset=utf-8';
}
