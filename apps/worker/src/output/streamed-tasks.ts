import { logEvent } from '@pilum/core/log/log-events.ts';
import { paceChannel, qualifiedTaskId } from '@pilum/core/redis/keys.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import { type OutputStore, type Pace, parsePace } from '@pilum/core/store/output-store.ts';
import type { Logger } from 'pino';
import { Pacing } from './pacing.ts';

/** Interval at which readers are counted, ms. */
const COUNT_INTERVAL_MS = 1000;

interface StreamedTask {
  readonly ticket: Ticket;
  readonly pacing: Pacing;
  /** Since when nobody reads it, ms of this process; null while somebody does. */
  unreadSinceMs: number | null;
}

export interface StreamedTasksDeps {
  readonly store: OutputStore;
  readonly workerProcess: string;
  /** A streamed task without a reader is given up after so long, ms. */
  readonly readerGraceMs: number;
  /** Ends a task that nobody reads. */
  readonly abandon: (ref: TaskRef) => void;
  readonly logger: Logger;
}

/** The streamed tasks that this worker runs: hears how far their readers are, and gives up those that nobody reads. */
export class StreamedTasks {
  /** Channel on which it hears of readers. */
  readonly channel: string;
  readonly #deps: StreamedTasksDeps;
  readonly #tasks = new Map<string, StreamedTask>();
  #timer: NodeJS.Timeout | undefined;
  #isCounting = false;

  constructor(deps: StreamedTasksDeps) {
    this.#deps = deps;
    this.channel = paceChannel(deps.workerProcess);
  }

  async open(subscriber: Subscriber): Promise<void> {
    await subscriber.subscribe(this.channel, (message) => this.#hear(parsePace(message)));
    this.#timer = setInterval(() => void this.#count(), COUNT_INTERVAL_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Null for a task that is not streamed. */
  begin(ticket: Ticket): Pacing | null {
    if (ticket.stream === undefined) return null;
    const pacing = new Pacing(ticket.stream);
    this.#tasks.set(qualifiedTaskId(ticket), { ticket, pacing, unreadSinceMs: null });
    return pacing;
  }

  end(ticket: Ticket): void {
    if (ticket.stream !== undefined) this.#tasks.delete(qualifiedTaskId(ticket));
  }

  #hear(pace: Pace | null): void {
    if (pace !== null) this.#tasks.get(qualifiedTaskId(pace))?.pacing.taken(pace);
  }

  async #count(): Promise<void> {
    const tasks = [...this.#tasks.values()];
    if (tasks.length === 0 || this.#isCounting) return;
    this.#isCounting = true;
    try {
      const counts = await this.#deps.store.readers(tasks.map(({ ticket }) => ticket));
      for (const [index, task] of tasks.entries()) this.#see(task, counts[index] ?? 0);
    } catch (error) {
      logEvent(this.#deps.logger, 'readers-uncounted', { err: error });
    } finally {
      this.#isCounting = false;
    }
  }

  #see(task: StreamedTask, readers: number): void {
    const { ticket, pacing } = task;
    pacing.readers(readers);
    pacing.tick();
    if (readers > 0 || ticket.stream?.detach === true) {
      task.unreadSinceMs = null;
      return;
    }
    const now = performance.now();
    task.unreadSinceMs ??= now;
    if (now - task.unreadSinceMs >= this.#deps.readerGraceMs) this.#deps.abandon(ticket);
  }
}
