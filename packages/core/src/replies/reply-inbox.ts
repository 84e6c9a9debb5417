import { randomUUID } from 'node:crypto';
import { replyChannel } from '../redis/keys.ts';
import type { Subscriber } from '../redis/subscriber.ts';
import type { Outcome } from '../schemas/task.ts';
import { parseOutcome, type TaskStore } from '../store/task-store.ts';

/** How often a waiter looks at the record itself, ms: what a lost reply costs at most. */
const LOOK_INTERVAL_MS = 1000;
/** How long the look at the end of a wait may take, ms: whoever waits has a deadline, and Redis may be away. */
const LAST_LOOK_MS = 200;

interface Waiter {
  readonly namespace: string;
  readonly taskId: string;
  readonly since: number;
  readonly resolve: (outcome: Outcome) => void;
}

/**
 * Where one API process hears the outcomes that its callers wait for. A reply is a hint and Redis is the truth: after
 * a gap, on a slow timer and at the deadline the record itself is read.
 */
export class ReplyInbox {
  readonly channel = replyChannel(randomUUID());
  readonly #subscriber: Subscriber;
  readonly #tasks: TaskStore;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;

  constructor(subscriber: Subscriber, tasks: TaskStore, onError: (error: unknown) => void) {
    this.#subscriber = subscriber;
    this.#tasks = tasks;
    this.#onError = onError;
  }

  async open(): Promise<void> {
    await this.#subscriber.subscribe(this.channel, (message) => this.#deliver(parseOutcome(message)));
    this.#subscriber.onGap(() => void this.#look(0));
    this.#timer = setInterval(() => void this.#look(LOOK_INTERVAL_MS), LOOK_INTERVAL_MS);
    this.#timer.unref();
  }

  /** Callers that wait now. */
  get waiting(): number {
    return this.#waiters.size;
  }

  /**
   * Waits for a task's outcome; to be called before the task is added, so that no reply is missed. At the end of the wait
   * the record is looked at, for {@link LAST_LOOK_MS} at most.
   * @param signal ends the wait: its reason is what the promise is rejected with, except for a time-out
   * @returns the outcome, or null where there is none after `waitMs`
   */
  async wait(namespace: string, taskId: string, waitMs: number, signal: AbortSignal): Promise<Outcome | null> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<Outcome | null>();
    const waiter: Waiter = { namespace, taskId, since: Date.now(), resolve };
    const waiters = this.#waiters.get(taskId) ?? new Set();
    waiters.add(waiter);
    this.#waiters.set(taskId, waiters);
    const onAbort = () => reject(signal.reason);
    let timer = setTimeout(() => {
      timer = setTimeout(resolve, LAST_LOOK_MS, null);
      this.#tasks.outcome(namespace, taskId).then(resolve, reject);
    }, waitMs);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      waiters.delete(waiter);
      if (waiters.size === 0) this.#waiters.delete(taskId);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #deliver(outcome: Outcome): void {
    for (const waiter of this.#waiters.get(outcome.taskId) ?? []) waiter.resolve(outcome);
  }

  /** Reads the records of everyone who has waited for at least `minAgeMs`; one look at a time, however long it takes. */
  async #look(minAgeMs: number): Promise<void> {
    if (this.#isLooking) return;
    const before = Date.now() - minAgeMs;
    const due = [...this.#waiters.values()].flatMap((set) => [...set]).filter((waiter) => waiter.since <= before);
    if (due.length === 0) return;
    this.#isLooking = true;
    try {
      for (const outcome of await this.#tasks.outcomes(due)) if (outcome !== null) this.#deliver(outcome);
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#isLooking = false;
    }
  }
}
