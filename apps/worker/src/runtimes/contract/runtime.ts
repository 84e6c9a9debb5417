import { type ErrorData, InstanceError } from '@pilum/core/errors/pilum-error.ts';
import type { PinnedImage, Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type { PackedFrames } from '@pilum/core/schemas/frame.ts';
import type { HttpHead, HttpTarget } from '@pilum/core/schemas/http-head.ts';
import type { LogLevel } from '@pilum/core/schemas/log.ts';
import type { NetworkUse } from '@pilum/core/schemas/task.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import type { Protocol } from '@pilum/core/spec/protocols.ts';
import type { RuntimeKind } from '@pilum/core/spec/runtimes.ts';
import type { InstanceSecrets } from './instance-secrets.ts';

/**
 * A driver that starts, calls and stops instances. The order of calls:
 *
 *     open → (check | anticipate | start | removeOrphans | prewarmed sandboxes.open)* → close
 *     start → (call | check)* → stop;  `ended` resolves once, whoever ends the instance
 *
 * Callers ask `capabilities`, never `kind`.
 */
export interface Runtime {
  readonly kind: RuntimeKind;
  readonly capabilities: RuntimeCapabilities;
  /** The instances that the runtime makes ahead of the code; null where it makes none. */
  readonly prewarm: Prewarm | null;
  /** The preparation of a version at its deployment; null where a version needs nothing but its code. */
  readonly preparer: Preparer | null;

  /** Finds out whether this machine can run instances now, and how well isolated. Never throws for what is merely missing. */
  check(): Promise<RuntimeStatus>;

  /**
   * Starts an instance and resolves when it is ready for a task.
   * @throws InstanceError `INSTANCE_START_FAILED` with the last lines of its output, after everything that was
   *   begun is undone; RuntimeError `SANDBOX_UNAVAILABLE` or `RUNTIME_UNAVAILABLE`.
   */
  start(runnable: RunnableVersion, options: StartOptions): Promise<RuntimeInstance>;

  /**
   * Does ahead what a first start of a version would have to wait for, where there is such a thing. Whoever deploys
   * something is likely to call it.
   * @throws what `start` throws
   */
  anticipate?(runnable: RunnableVersion): Promise<void>;

  /**
   * Ends what dead workers of this machine have left of their instances, and never touches what is a live one's, stopped
   * or not. Cheap where there is nothing; to be called again and again.
   */
  removeOrphans(): Promise<void>;

  /** Ends every instance and waits for it. May be awaited twice. */
  close(): Promise<void>;
}

/** Gets what a version needs beside its code, once, when the version is deployed. */
export interface Preparer {
  /**
   * @param options.onProgress is told how far it is, often; for a person to read
   * @throws ArtifactError `IMAGE_UNAVAILABLE`, RequestError `FORBIDDEN`: it would be the same again; RuntimeError
   *   `RUNTIME_UNAVAILABLE`: it may be tried again; the signal's reason
   */
  prepare(spec: ArtifactSpec, options: PrepareOptions): Promise<{ readonly image: PinnedImage }>;
}

export interface PrepareOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
}

/** Instances that stand ready without code: a start that finds one that fits takes it, and is soon done. */
export interface Prewarm {
  /**
   * Keeps them ready from now on, until the runtime is closed. May be called again.
   * @throws what `start` throws where no instance could be started
   */
  open(spare: Spare): Promise<void>;

  /**
   * Expects versions like this one to be started: prewarmed sandboxes that fit are made in the background.
   * @throws what `start` throws where no instance could be started
   */
  expect(version: Version): Promise<void>;

  /** Counts the wanted ones that stand ready now, by language. */
  ready(): Record<string, number>;
}

/** The resources that a worker can spare for what is made ahead. */
export interface Spare {
  /** Tells whether the worker's processors have enough to do. */
  isBusy(): boolean;
  /** Returns the memory that instances leave of what they may have, MiB. */
  memoryMiB(): number;
}

export interface RuntimeCapabilities {
  readonly protocols: readonly Protocol[];
  /** Tells whether output can be passed on before the task ends. */
  readonly streaming: boolean;
}

/** The version that a task was accepted with, as places on this machine's disk: an instance knows nothing newer. */
export interface RunnableVersion {
  readonly namespace: string;
  readonly version: Version;
  /** Directory that holds the code, read-only; null where the version has none. */
  readonly codeDirectory: string | null;
  /** The files of its layers, in the order in which it names them. */
  readonly layers: readonly LayerFiles[];
  /** The secrets of the one instance that is being started; left out where it has none. */
  readonly secrets?: InstanceSecrets;
}

/** The files of one layer, as a place on this machine's disk. */
export interface LayerFiles {
  /** The id of the layer; no other layer of the same version has it. */
  readonly id: string;
  /** The directory of the layer's files, read-only. */
  readonly directory: string;
}

export interface StartOptions {
  readonly instanceId: string;
  /** Aborts the start; what was begun is undone. */
  readonly signal: AbortSignal;
}

export interface RuntimeInstance {
  readonly instanceId: string;
  /** Tells whether the instance may run more tasks; one that is not reusable runs one task, then it is stopped. */
  readonly reusable: boolean;
  /** The part of the start that loading the code, or listening, took, ms; left out where it is not told apart. */
  readonly loadMs?: number;
  /** Resolves once, when the instance and all its descendants are gone. */
  readonly ended: Promise<InstanceEnd>;

  /**
   * Runs one task. One call at a time. The function's own failure is a CallResult with `ok: false`.
   * @throws InstanceError `INSTANCE_LOST`, `OUT_OF_MEMORY` or `OUTPUT_TOO_LARGE`, when the instance ended under
   *   the task or had to be ended because of it; {@link SharedLoss} where what it shared with others has.
   */
  call(call: Call): Promise<CallResult>;

  /**
   * Tells whether a call that was ended from outside, or failed badly, has ended alone, so that the others and those to come go on
   * with this instance. To be asked in the turn in which its `call` has settled, or its signal was aborted. Left out where a call ends with its instance.
   * @param isTimeout its run timeout was reached
   */
  outlives?(taskId: string, isTimeout: boolean): boolean;

  /**
   * Tells whether the instance would take a call now: false where it has ended, or does not answer within the limit. While a call runs
   * nothing is asked, and the answer is true. Cheap; whoever asks again before there is an answer gets the same one.
   * @param withinMs how long to wait for the answer, ms
   */
  check(withinMs: number): Promise<boolean>;

  /**
   * Ends the instance and all its descendants: SIGTERM, then SIGKILL after `graceMs`. Resolves when they are
   * gone; may be called twice, the shorter grace counts.
   */
  stop(options: { graceMs: number }): Promise<void>;
}

/** The instance was lost with others, and nobody knows whose doing it was. */
export class SharedLoss extends InstanceError {
  constructor(message: string) {
    super('INSTANCE_LOST', { message });
  }
}

export type EndReason = 'stopped' | 'exited' | 'out-of-memory';

export interface InstanceEnd {
  readonly reason: EndReason;
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The last lines that it printed, for error messages; at most a few KiB. */
  readonly lastOutput: string;
}

export interface Call {
  readonly taskId: string;
  /** 1, 2, 3 … */
  readonly attempt: number;
  /**
   * The moment at which the run timeout strikes, ms since 1970: for the function to know. The caller of `call` enforces it.
   */
  readonly deadlineMs: number;
  readonly contentType: string;
  readonly payload: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  /**
   * The request to the function as a web endpoint; null where it was not called as one. The answer then has a head:
   * in the result where it comes as a whole, else as the first frame that goes to `chunks`.
   */
  readonly http: HttpTarget | null;
  readonly traceparent: string | null;
  readonly log: LogSink;
  /** The sink that gets what the function yields as it comes; null where the result is wanted whole. */
  readonly chunks: ChunkSink | null;
  /** Something that it shared with others has died under it: where it would again, it is run in one of its own. */
  readonly alone?: boolean;
  /** Takes what the function says of its progress, as JSON. */
  readonly progress: (json: string) => void;
  /** Takes what the call has used of a network that is counted, once or in parts; left out where nobody asks. */
  readonly used?: (use: NetworkUse) => void;
  /**
   * Aborted at the run timeout, at cancel and where the worker stops: for the function to know, and a CallStopped as its
   * reason says why. The caller of `call` then stops the instance, and its grace is the time that the function has to
   * clean up; it waits neither for that nor for what the function says meanwhile.
   */
  readonly signal: AbortSignal;
}

export type CallResult =
  | {
      readonly ok: true;
      readonly contentType: string;
      readonly body: Buffer;
      /** The output went to `chunks`, and the body is what the function returned besides. */
      readonly streamed?: true;
      /** The head of a web endpoint's answer that came as a whole; `body` is that answer's body. */
      readonly head?: HttpHead;
    }
  | { readonly ok: false; readonly error: ErrorData };

/** The destination of a streamed task's output, piece by piece. Bounded by the promise that a write may return. */
export interface ChunkSink {
  /**
   * Takes chunks, which then are the sink's.
   * @returns null where there is room for more; else a promise that resolves when there is, and whoever writes waits for it
   */
  take(packed: PackedFrames): Promise<void> | null;
}

/** The destination of a task's output that is not its result. Bounded by whoever makes it; writing never fails. */
export interface LogSink {
  write(line: LogLine): void;
}

export interface LogLine {
  /** ms since 1970 */
  readonly atMs: number;
  readonly stream: 'stdout' | 'stderr' | 'log';
  readonly level: LogLevel;
  readonly text: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}
