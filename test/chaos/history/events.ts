import type { TaskStatus } from '@pilum/core/states/states.ts';

/** What callers want done. */
export const KINDS = [
  'sync',
  'async',
  'logs',
  'idempotent',
  'long',
  'delayed',
  'retried',
  'exhausted',
  'timed-out',
  'cancelled',
  'full-disk',
  'kills-itself',
  'streamed',
] as const;
export type Kind = (typeof KINDS)[number];

/**
 * Kinds whose tasks say how fast Pilum recovers. The others take their time by design: a long run, a delay, a back-off,
 * a start of a new instance for each of their losses, or an end that only a timer or a caller brings.
 */
export const MEASURED_KINDS: ReadonlySet<Kind> = new Set(['sync', 'async', 'logs', 'idempotent']);

export const FAULTS = [
  'worker-kill',
  'worker-stop',
  'worker-block',
  'api-kill',
  'redis-kill',
  'connections-cut',
  'replies-dropped',
  'rolling-restart',
] as const;
export type FaultKind = (typeof FAULTS)[number];

/** Faults during which Redis does not answer. */
export const REDIS_FAULTS: ReadonlySet<FaultKind> = new Set(['redis-kill', 'connections-cut', 'replies-dropped']);

export type Operation = 'invoke' | 'read' | 'cancel';

/** What a process of Pilum said about tasks. */
export type Statement =
  /** A task was run again, because its instance or its worker died. */
  | 'run-again'
  /** The housekeeper took a task from a worker that no longer renewed its lock. */
  | 'taken-from-dead-worker'
  /** A worker that stops gave a task back. */
  | 'given-back'
  /** A worker came too late with an outcome or an attempt, or no longer held the task that it ran. */
  | 'late';

interface Report<T extends string> {
  type: T;
  at: number;
  taskId: string;
  request: number;
  attempt: number;
  execution: string;
}

/** One line of a history. All times are ms since 1970 by the one clock of the machine. */
export type ChaosEvent =
  /** A caller wants one task run, however often it has to ask for it. */
  | { type: 'request'; at: number; request: number; kind: Kind; key: string | null }
  | { type: 'sent'; at: number; call: number; request: number; op: Operation; waitMs: number | null }
  | {
      type: 'answered';
      at: number;
      call: number;
      /** Null: the connection broke, or there was no answer long after the deadline. */
      http: number | null;
      taskId: string | null;
      status: TaskStatus | null;
      /** Of the error in the answer, or of the connection's. */
      code: string | null;
      /** The answer said that an earlier call with the same key was first. */
      replayed: boolean;
      elapsedMs: number;
    }
  /** Someone was shown a settled task; the digest is of all that must never change. */
  | {
      type: 'outcome';
      at: number;
      taskId: string;
      status: TaskStatus;
      /** Of the error that it ended with. */
      code: string | null;
      digest: string;
      /** The execution whose result it has. */
      execution: string | null;
    }
  /** A caller has read the stream of a task, over as many connections as it took. */
  | {
      type: 'stream';
      at: number;
      taskId: string;
      request: number;
      /** It was to be run again in mid-stream, if need be. */
      restart: boolean;
      connections: number;
      /** Frames that it got, each once and in order as far as is not said below. */
      frames: number;
      /** Chunks since the last restart, of those that there are to be. */
      chunks: number;
      expected: number;
      /** How it ended; null where the caller left before. */
      status: TaskStatus | null;
      /** What was wrong with what it got; null for nothing. */
      fault: string | null;
    }
  /** A function reports, by a way of its own. */
  | Report<'start'>
  | Report<'end'>
  | { type: 'fault-begin'; at: number; fault: number; kind: FaultKind; target: string }
  /** The harm is over; what it has done may not be. */
  | { type: 'fault-end'; at: number; fault: number }
  /** A fresh call got its result. */
  | { type: 'probe'; at: number; fault: number }
  | {
      type: 'said';
      at: number;
      statement: Statement;
      taskIds: readonly string[];
      /** Of `run-again`: which recovery it was. */
      recovery: number | null;
      reason: string;
      source: string;
    }
  /** What Pilum has recorded of a task at the end of the run. */
  | {
      type: 'record';
      at: number;
      taskId: string;
      http: number | null;
      status: TaskStatus | null;
      attempts: number;
      recoveries: number;
      createdAtMs: number | null;
      finishedAtMs: number | null;
    }
  /** A process of Pilum has ended, with exit code or signal. */
  | { type: 'exit'; at: number; part: string; how: string; asked: 'kill' | 'stop' | null }
  /** The harness itself did not get to run for so long. */
  | { type: 'lag'; at: number; lagMs: number };

export type EventOf<T extends ChaosEvent['type']> = Extract<ChaosEvent, { type: T }>;
