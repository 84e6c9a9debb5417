import { CHANNEL_CANCEL, qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { Logger } from 'pino';
import { CallStopped } from '../runtimes/contract/call-stopped.ts';

/** How often the outcomes of running tasks are looked at, ms: what a lost message delays a cancellation by. */
const LOOK_INTERVAL_MS = 1000;

/** Nobody needs what the task is still doing: it was settled from outside, and has its outcome. */
export class Cancelled extends CallStopped {
  constructor() {
    super('TaskCancelled');
  }
}
/** It is a streamed task, and nobody has read it for a while. It has no outcome yet. */
export class Unread extends Cancelled {}
/** The worker stops before the task has ended: it has no outcome, and its job goes back to the queue. */
export class Interrupted extends CallStopped {
  constructor() {
    super('WorkerStopping');
  }
}

// One of each for all tasks: nobody reads their stacks, and the hot path makes no errors.
const CANCELLED = new Cancelled();
const INTERRUPTED = new Interrupted();
const UNREAD = new Unread();

interface RunningTask {
  readonly namespace: string;
  readonly taskId: string;
  readonly controller: AbortController;
}

/** The tasks that this worker runs, and the two ways to end them from outside: cancel one, interrupt all. */
export class RunningTasks {
  readonly #tasks: TaskStore;
  readonly #logger: Logger;
  readonly #running = new Map<string, RunningTask>();
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
      this.#running.get(qualified)?.controller.abort(CANCELLED);
    });
    this.#timer = setInterval(() => void this.#look(), LOOK_INTERVAL_MS);
  }

  /** Counts a task as running; its signal is aborted with {@link Cancelled} or {@link Interrupted} as reason. */
  begin(namespace: string, taskId: string): AbortSignal {
    const controller = new AbortController();
    if (this.#interrupted) controller.abort(INTERRUPTED);
    this.#running.set(qualifiedId(namespace, taskId), { namespace, taskId, controller });
    return controller.signal;
  }

  end(namespace: string, taskId: string): void {
    this.#running.delete(qualifiedId(namespace, taskId));
  }

  /** Ends a streamed task that nobody reads. */
  abandon(namespace: string, taskId: string): void {
    this.#running.get(qualifiedId(namespace, taskId))?.controller.abort(UNREAD);
  }

  /** Ends every task, also those that begin later. */
  interruptAll(): void {
    this.#interrupted = true;
    for (const { controller } of this.#running.values()) controller.abort(INTERRUPTED);
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
        if (outcome !== null) running[index]?.controller.abort(CANCELLED);
      }
    } catch (error) {
      this.#logger.warn({ err: error }, 'running tasks could not be looked at');
    } finally {
      this.#isLooking = false;
    }
  }
}
