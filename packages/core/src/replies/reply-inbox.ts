import { randomUUID } from 'node:crypto';
import { replyChannel } from '../redis/keys.ts';
import type { Subscriber } from '../redis/subscriber.ts';
import type { TaskRef } from '../schemas/refs.ts';
import type { Outcome } from '../schemas/task.ts';
import { parseOutcome } from '../store/read-outcome.ts';
import type { TaskStore } from '../store/task-store.ts';

/** Interval at which a waiter looks at the record itself, ms: what a lost reply costs at most. */
const LOOK_INTERVAL_MS = 1000;
/** Longest time that the look at the end of a wait may take, ms: whoever waits has a deadline, and Redis may be away. */
const LAST_LOOK_MS = 200;

/** One caller's wait for one outcome. */
export class Wait {
  /**
   * The outcome, or null where there was none when the wait ended. Rejected where the record could not be read at its end.
   */
  readonly outcome: Promise<Outcome | null>;
  readonly namespace: string;
  readonly taskId: string;
  readonly since = Date.now();
  readonly #settle: PromiseWithResolvers<Outcome | null>;
  readonly #release: (wait: Wait) => void;
  readonly #look: (wait: Wait) => Promise<Outcome | null>;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /**
   * @param waitMs when it ends by itself: then the record is looked at, for {@link LAST_LOOK_MS} at most
   * @param release is told once that it is over
   */
  constructor(
    { namespace, taskId }: TaskRef,
    waitMs: number,
    look: (wait: Wait) => Promise<Outcome | null>,
    release: (wait: Wait) => void,
  ) {
    this.namespace = namespace;
    this.taskId = taskId;
    this.#settle = Promise.withResolvers();
    this.outcome = this.#settle.promise;
    this.#look = look;
    this.#release = release;
    this.#timer = setTimeout(() => this.#lookOnce(), waitMs);
  }

  /** There is an outcome. */
  deliver(outcome: Outcome): void {
    this.#over();
    this.#settle.resolve(outcome);
  }

  /** Ends it, without a last look. May be called again. */
  end(): void {
    this.#over();
    this.#settle.resolve(null);
  }

  #lookOnce(): void {
    this.#timer = setTimeout(() => this.end(), LAST_LOOK_MS);
    this.#look(this).then(
      (outcome) => (outcome === null ? this.end() : this.deliver(outcome)),
      (error: unknown) => {
        this.#over();
        this.#settle.reject(error);
      },
    );
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#release(this);
  }
}

/**
 * Brings one API process the outcomes that its callers wait for. A reply is a hint and Redis is the truth: after
 * a gap, on a slow timer and at the deadline the record itself is read.
 */
export class ReplyInbox {
  readonly channel = replyChannel(randomUUID());
  readonly #subscriber: Subscriber;
  readonly #tasks: TaskStore;
  /** By task; more than one only where callers have joined. */
  readonly #waits = new Map<string, Set<Wait>>();
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

  /** Tasks that callers wait for now. */
  get waiting(): number {
    return this.#waits.size;
  }

  /** Waits for a task's outcome; to be called before the task is added, so that no reply is missed. */
  wait(task: TaskRef, waitMs: number): Wait {
    const wait = new Wait(task, waitMs, this.#lookAt, this.#release);
    const waits = this.#waits.get(task.taskId);
    if (waits === undefined) this.#waits.set(task.taskId, new Set([wait]));
    else waits.add(wait);
    return wait;
  }

  readonly #lookAt = (wait: Wait) => this.#tasks.outcome(wait);

  readonly #release = (wait: Wait): void => {
    const waits = this.#waits.get(wait.taskId);
    if (waits?.delete(wait) === true && waits.size === 0) this.#waits.delete(wait.taskId);
  };

  close(): void {
    clearInterval(this.#timer);
  }

  #deliver(outcome: Outcome): void {
    for (const wait of this.#waits.get(outcome.taskId) ?? []) wait.deliver(outcome);
  }

  /** Reads the records of everyone who has waited for at least `minAgeMs`; one look at a time, however long it takes. */
  async #look(minAgeMs: number): Promise<void> {
    if (this.#isLooking) return;
    const before = Date.now() - minAgeMs;
    const due = [...this.#waits.values()].flatMap((set) => [...set]).filter(({ since }) => since <= before);
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
