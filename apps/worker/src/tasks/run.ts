import type { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { MOST_REFUSED, type NetworkUse, type Ticket } from '@pilum/core/schemas/task.ts';
import type { Suspicion } from '@pilum/core/store/task-store.ts';
import type { TaskOutput } from '../output/task-output.ts';
import { lostTooOften, maxRecoveries } from './endings.ts';
import type { Ending, RunFacts } from './outcomes.ts';

/** The facts so far of one run of a task on this worker. */
export interface Run {
  readonly held: HeldJob;
  readonly ticket: Ticket;
  readonly output: TaskOutput;
  /** Time at which this worker took it up, ms since 1970. */
  readonly startedAtMs: number;
  /** 1, 2, 3 … */
  attempt: number;
  /** Number of times that it was run again, after a worker or an instance. */
  recoveries: number;
  /** Instances that died under it. */
  losses: number;
  /** Number of instances, shared with others, that died under it. */
  sharedLosses: number;
  suspicion: Suspicion;
  /** Time at which it was taken up, on the clock of `performance.now()`. */
  readonly since: number;
  unpackMs: number;
  startMs: number;
  loadMs: number;
  runMs: number;
  coldStart: boolean;
  /** Time at which another start may be tried where no instance could be had, ms since 1970. */
  nextStartAtMs: number | null;
  /** An instance was asked for: from then on it counts as an attempt. */
  begun: boolean;
  instanceId: string | null;
  /** Use of a network that is counted; null where it has none. */
  network: NetworkUse | null;
  version?: Version;
  /** A result that is too large to lie in the outcome. */
  result?: Buffer;
  /** Settles when the instance is free again, or gone. */
  released: Promise<void> | null;
}

/** Returns what is known of a run when its job has just come. */
export function newRun(held: HeldJob, output: TaskOutput): Run {
  return {
    held,
    ticket: held.ticket,
    output,
    attempt: held.ticket.attempt,
    recoveries: held.stalls,
    losses: 0,
    sharedLosses: 0,
    suspicion: { begun: 0, alone: 0 },
    startedAtMs: sharedNow(),
    since: performance.now(),
    unpackMs: 0,
    startMs: 0,
    loadMs: 0,
    runMs: 0,
    coldStart: false,
    nextStartAtMs: null,
    begun: false,
    instanceId: null,
    network: null,
    released: null,
  };
}

/** Returns what the record of a task says of its run, which ends now. */
export function factsOf(run: Run, workerId: string): RunFacts {
  return {
    workerId,
    instanceId: run.instanceId,
    attempt: run.begun ? run.attempt : run.attempt - 1,
    recoveries: run.recoveries,
    startedAtMs: run.startedAtMs,
    // What is counted nowhere else, so that nothing is missing: mostly it was for Redis.
    fetchMs: Math.max(0, performance.now() - run.since - run.unpackMs - run.startMs - run.loadMs - run.runMs),
    unpackMs: run.unpackMs,
    startMs: run.startMs,
    loadMs: run.loadMs,
    runMs: run.runMs,
    coldStart: run.coldStart,
    frames: run.output.frames,
    progress: run.output.lastProgress,
    network: run.network,
  };
}

/** Adds to what a run has used of its network. */
export function noteUse(run: Run, { connections, sentBytes, receivedBytes, refused }: NetworkUse): void {
  const before = run.network ?? { connections: 0, sentBytes: 0, receivedBytes: 0, refused: [] };
  run.network = {
    connections: before.connections + connections,
    sentBytes: before.sentBytes + sentBytes,
    receivedBytes: before.receivedBytes + receivedBytes,
    refused: [...new Set([...before.refused, ...refused])].slice(-MOST_REFUSED),
  };
}

/** Whether it has given chunks that another run would give a second time, to readers who were not told to expect that. */
export function hasGivenForGood({ output, ticket }: Run): boolean {
  return output.chunkCount > 0 && ticket.stream?.restart !== true;
}

/**
 * Whether its instances died under it more often than it may be run again. Deaths of workers are not charged; but a task that
 * may never be run again is not, whatever died under it.
 */
export function isLostTooOften({ ticket, losses, recoveries }: Run): boolean {
  const most = maxRecoveries(ticket);
  return losses > most || (most === 0 && recoveries > 0);
}

/** Returns the end of a run that is not recovered once more, and takes back that its last loss was counted as a recovery. */
export function endAsLost(run: Run, last?: InstanceError): Ending {
  run.recoveries--;
  return lostTooOften(run.ticket, last);
}

/** Writes a line of Pilum's own into the task's log. */
export function noteInLog({ output }: Run, text: string): void {
  output.write({ atMs: sharedNow(), stream: 'log', level: 'warn', text: `[pilum] ${text}` });
}
