import { logEvent } from '@pilum/core/log/log-events.ts';
import { CHANNEL_CANCEL, qualifiedTaskId } from '@pilum/core/redis/keys.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { Logger } from 'pino';
import { CallStopped } from '../runtimes/contract/call-stopped.ts';

/** Interval at which the outcomes of running tasks are looked at, ms: what a lost message delays a cancellation by. */
const LOOK_INTERVAL_MS = 1000;

/**
 * Reason why a running task is ended from outside: `cancelled`, it was settled by another and has its outcome; `unread`, it is a
 * streamed task that nobody has read for a while, and has no outcome yet; `interrupted`, the worker stops, and the task's job
 * goes back to its queue.
 */
export type Stop = 'cancelled' | 'unread' | 'interrupted';

// One of each for all tasks: nobody reads their stacks, and the hot path makes no errors.
const REASONS: Readonly<Record<Stop, CallStopped>> = {
  cancelled: new CallStopped('TaskCancelled'),
  unread: new CallStopped('TaskCancelled'),
  interrupted: new CallStopped('WorkerStopping'),
};
const STOPS = new Map<unknown, Stop>(Object.entries(REASONS).map(([stop, reason]) => [reason, stop as Stop]));

/** Returns why the task of a signal is ended from outside; null while it is not. */
export function stopOf({ aborted, reason }: AbortSignal): Stop | null {
  return aborted ? (STOPS.get(reason) ?? null) : null;
}

/** One task that runs on this worker. */
export interface RunningTask {
  /** Aborted when the task is to end; {@link stopOf} says why. */
  readonly signal: AbortSignal;
  /** Is to be called when nothing of it runs here any more. */
  readonly over: () => void;
}

interface Entry {
  readonly namespace: string;
  readonly taskId: string;
  readonly controller: AbortController;
}

/** The tasks that this worker runs, and the two ways to end them from outside: cancel one, interrupt all. */
export class RunningTasks {
  readonly #tasks: TaskStore;
  readonly #logger: Logger;
  readonly #running = new Map<string, Entry>();
  #interrupted = false;
  #isLooking = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(tasks: TaskStore, logger: Logger) {
    this.#tasks = tasks;
    this.#logger = logger;
  }

  /** Begins to hear of cancellations. */
  async open(subscriber: Subscriber): Promise<void> {
    subscriber.onGap(() => void this.#look());
    await subscriber.subscribe(CHANNEL_CANCEL, (qualified) => {
      this.#running.get(qualified)?.controller.abort(REASONS.cancelled);
    });
    this.#timer = setInterval(() => void this.#look(), LOOK_INTERVAL_MS);
  }

  /** Counts a task as running until it is over. */
  begin(ref: TaskRef): RunningTask {
    const { namespace, taskId } = ref;
    const controller = new AbortController();
    if (this.#interrupted) controller.abort(REASONS.interrupted);
    const key = qualifiedTaskId(ref);
    const entry: Entry = { namespace, taskId, controller };
    this.#running.set(key, entry);
    const over = () => {
      // A task that was put off or given back may have come again meanwhile.
      if (this.#running.get(key) === entry) this.#running.delete(key);
    };
    return { signal: controller.signal, over };
  }

  /** Ends a streamed task that nobody reads. */
  abandon(ref: TaskRef): void {
    this.#running.get(qualifiedTaskId(ref))?.controller.abort(REASONS.unread);
  }

  /** Ends every task, also those that begin later. */
  interruptAll(): void {
    this.#interrupted = true;
    for (const { controller } of this.#running.values()) controller.abort(REASONS.interrupted);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** A message is a hint; the truth is that a task which runs here and has an outcome was settled by another. */
  async #look(): Promise<void> {
    const running = [...this.#running.values()];
    // One look at a time: while Redis is away they would pile up, and the one that waits sees as much.
    if (running.length === 0 || this.#isLooking) return;
    this.#isLooking = true;
    try {
      const outcomes = await this.#tasks.outcomes(running);
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome !== null) running[index]?.controller.abort(REASONS.cancelled);
      }
    } catch (error) {
      logEvent(this.#logger, 'running-unseen', { err: error });
    } finally {
      this.#isLooking = false;
    }
  }
}
