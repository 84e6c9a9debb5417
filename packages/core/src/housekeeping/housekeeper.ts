import type { Logger } from 'pino';
import { Rounds } from '../async/rounds.ts';
import { logEvent } from '../log/log-events.ts';
import type { TaskQueue } from '../queue/task-queue.ts';
import type { QueueLook, TaskQueues } from '../queue/task-queues.ts';
import { qualifiedId } from '../redis/keys.ts';
import { sharedNow } from '../redis/shared-time.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import { ACTIVE_FOR_MS, type ArtifactLists, type ListedArtifact } from '../store/artifact-list.ts';
import type { ArtifactStore } from '../store/artifact-store.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { KeptStore } from '../store/kept-store.ts';
import type { TaskStore } from '../store/task-store.ts';
import { queueTimeoutOutcome } from '../store/unrun-outcome.ts';
import { cancelWaiting } from './cancel-waiting.ts';
import { type KeptLimits, KeptRounds } from './kept-rounds.ts';
import type { LeaderLease } from './leader-lease.ts';
import { ListSweep } from './list-sweep.ts';
import { purgeDeleted } from './purge-deleted.ts';

/** Between two rounds over the queues with work, ms. */
const ROUND_MS = 2000;
/** Between two collections of code that no artifact uses, ms. */
const COLLECT_INTERVAL_MS = 30_000;
/** Between two rounds over what settled tasks hold, ms. */
const KEPT_INTERVAL_MS = 10_000;
/** Waiting tasks of one queue whose deadline is looked at in one round. */
const DEADLINE_WINDOW = 2000;

export interface HousekeeperDeps {
  readonly lease: LeaderLease;
  readonly queues: TaskQueues;
  readonly tasks: TaskStore;
  readonly artifacts: ArtifactStore;
  readonly lists: ArtifactLists;
  readonly kept: KeptStore;
  readonly keptLimits: KeptLimits;
  /** Store whose unused code is collected; null where that is left to others. */
  readonly collect: {
    readonly blobs: BlobStore /** Unused code is deleted after this long, ms. */;
    readonly graceMs: number;
  } | null;
  readonly logger: Logger;
}

/**
 * One process at a time goes round over the artifacts that are active: queues with backlog are announced again (the message that there is work may have
 * been lost, and a retry may fall due where nobody is attached), jobs of dead workers are put back in line, tasks that
 * have waited past their queue deadline are settled, what tasks hold is kept within its limits, what deleted artifacts have left
 * is removed, and code that no artifact uses is deleted. Beside that, slowly, it looks at all artifacts for work that is on no list
 * ({@link ListSweep}).
 */
export class Housekeeper {
  readonly #deps: HousekeeperDeps;
  readonly #stopping = new AbortController();
  /** Position in a queue from which to look for overdue tasks next; only of queues where the oldest ones are not overdue. */
  readonly #deadlineFrom = new Map<string, number>();
  readonly #rounds: Rounds;
  #collectedAt = performance.now();
  readonly #keptRounds: KeptRounds;
  readonly #sweep: ListSweep;
  #keptAt = performance.now();

  constructor(deps: HousekeeperDeps) {
    this.#deps = deps;
    this.#keptRounds = new KeptRounds(deps.kept, deps.lists.holding, deps.keptLimits, deps.logger);
    this.#sweep = new ListSweep(deps);
    this.#rounds = new Rounds(() => this.#goRound(), {
      everyMs: ROUND_MS,
      onError: (error) => logEvent(deps.logger, 'round-failed', { err: error }),
    });
  }

  open(): void {
    this.#rounds.open(0);
  }

  /** Finishes the round it is in and leaves the office to another. May be awaited twice. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#rounds.close();
    // Where Redis does not hear of it, the office runs out by itself.
    await this.#deps.lease.leave().catch(() => undefined);
  }

  async #goRound(): Promise<void> {
    const { lease, lists, collect, logger } = this.#deps;
    if (!(await lease.hold())) return;
    const looksAtKept = performance.now() - this.#keptAt > KEPT_INTERVAL_MS;
    if (looksAtKept) this.#keptAt = performance.now();
    await this.#sweep.goOn(this.#stopping.signal);
    for await (const page of lists.active.pages()) {
      await Promise.all(page.map((artifact) => this.#lookAfter(artifact)));
      if (this.#stopping.signal.aborted) return;
      if (looksAtKept) await this.#keptRounds.look(page);
    }
    if (looksAtKept) {
      await this.#keptRounds.end();
      await lists.trimRecent();
    }
    if (collect !== null && performance.now() - this.#collectedAt > COLLECT_INTERVAL_MS) {
      this.#collectedAt = performance.now();
      const collected = await collect.blobs.collect(sharedNow() - collect.graceMs);
      if (collected > 0) logEvent(logger, 'code-collected', { collected });
    }
  }

  async #lookAfter(ref: ListedArtifact): Promise<void> {
    const { queues, tasks, artifacts, logger } = this.#deps;
    const look = await queues.look(ref);
    const { due, delayed, active, nextDueAtMs, deletedAtMs } = look;
    const isPurged = await purgeDeleted(this.#deps.kept, artifacts, ref, look, this.#stopping.signal);
    if (due + delayed + active === 0) {
      if (isPurged) await this.#takeOff(ref, look);
      return;
    }
    const queue = queues.of(ref);
    let recovered: string[] = [];
    if (active > 0) recovered = await queue.recoverStalled();
    if (recovered.length > 0) logEvent(logger, 'tasks-recovered', { taskIds: recovered });
    if (deletedAtMs !== null) {
      // Whoever deleted it has died over it, or something ran on.
      await cancelWaiting(queue, tasks, deletedAtMs);
      return;
    }
    if (due + delayed > 0) await this.#endOverdue(queue, ref, due + delayed);
    // Whoever hears of a queue asks it when its next job is due; so it is enough to tell them a round before.
    const isDueSoon = nextDueAtMs !== null && nextDueAtMs <= look.nowMs + 2 * ROUND_MS;
    if (due > 0 || recovered.length > 0 || isDueSoon) await queue.announce();
  }

  /** Takes an artifact without work off the list, a while after it was put there; a deleted one is forgotten with that. */
  async #takeOff(ref: ListedArtifact, { deletedAtMs, nowMs }: QueueLook): Promise<void> {
    const { queues, artifacts, kept, lists } = this.#deps;
    if (deletedAtMs === null && nowMs < ref.listedAtMs + ACTIVE_FOR_MS) return;
    if (deletedAtMs !== null) {
      await queues.of(ref).forgetFinished();
      await artifacts.forget(ref);
    } else {
      if ((await kept.bytesOf(ref)) > 0) await lists.holding.put(ref);
      await lists.recent.put(ref);
    }
    await lists.active.takeOff(ref);
  }

  /** A task past its queue deadline gets its outcome whether or not a worker ever looks at it. */
  async #endOverdue(queue: TaskQueue, ref: ArtifactRef, waiting: number): Promise<void> {
    const { tasks, logger } = this.#deps;
    const key = qualifiedId(ref);
    const from = this.#deadlineFrom.get(key) ?? 0;
    const overdue = await queue.overdue({ from, count: DEADLINE_WINDOW });
    // Tasks may be allowed to wait for different times: where the oldest may wait on, those behind them are looked at.
    if (overdue.length === 0 && from + DEADLINE_WINDOW < waiting) this.#deadlineFrom.set(key, from + DEADLINE_WINDOW);
    else this.#deadlineFrom.delete(key);
    await Promise.all(
      overdue.map(async (taskId) => {
        const job = await queue.read(taskId);
        if (job === null || job.state === 'running') return;
        await tasks.settle(job.ticket, queueTimeoutOutcome(job.ticket));
        // A worker that has taken it in this moment is told, as at a cancel; the job is then its to finish.
        if (!(await queue.remove(taskId).catch(() => false))) await tasks.announceCancelled(job.ticket);
      }),
    );
    if (overdue.length > 0) logEvent(logger, 'tasks-overdue', { artifactId: ref.artifactId, tasks: overdue.length });
  }
}
