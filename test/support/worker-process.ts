import { type HeldJob, parseHandOver, SlotTokens } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { handOverChannel } from '@pilum/core/redis/keys.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import { accept, outcomeFor, ticketFor } from './tasks.ts';
import { waitFor } from './wait-for.ts';

/** What a worker process is to Redis: it offers slots, and hears of the jobs that are handed over for them. */
export class WorkerProcess {
  readonly tokens: SlotTokens;
  /** What was handed over to it, as it came. */
  readonly messages: string[] = [];
  readonly #redis: Redis;

  private constructor(url: string, name: string) {
    this.tokens = new SlotTokens(name);
    this.#redis = connect({ url, name: `${name}-messages` }, () => undefined);
    this.#redis.on('message', (_channel: string, message: string) => this.messages.push(message));
  }

  static async start(url: string, name = 'worker'): Promise<WorkerProcess> {
    const worker = new WorkerProcess(url, name);
    await worker.#redis.subscribe(handOverChannel(worker.tokens.workerProcess));
    return worker;
  }

  /**
   * Runs a task of its own to its end, and offers the slot.
   * @returns the token of the offer
   */
  async offer(queue: TaskQueue, tasks: TaskStore, artifactId: string): Promise<string> {
    const ticket = ticketFor(artifactId);
    await accept(queue, ticket);
    const { job } = await queue.fetch(this.tokens.next(), 'worker');
    if (job?.ticket.taskId !== ticket.taskId) throw new Error('others are ahead');
    const { token, offered } = await this.endAndOffer(queue, tasks, job);
    if (!offered) throw new Error('the slot was not offered');
    return token;
  }

  /** Ends a task and its job, for whatever comes next. */
  async endAndOffer(queue: TaskQueue, tasks: TaskStore, job: HeldJob) {
    const settlement = tasks.settlement(job.ticket, outcomeFor(job.ticket, { status: 'completed' }));
    const token = this.tokens.next();
    const next = { token, workerId: 'worker', offer: true };
    return { token, settlement, ...(await queue.end(job, { settlement, failure: null, next })) };
  }

  /** The job that was handed over for an offer; waits until its message is here. */
  async handedFor(queue: TaskQueue, token: string): Promise<HeldJob> {
    const message = await waitFor(() => this.messages.find((one) => one.startsWith(`${token} `)), {
      what: `a job for ${token}`,
    });
    return queue.handedOver(parseHandOver(message).data, token);
  }

  /** Resolves when everything that was handed over until now is here. */
  async heardAll(): Promise<void> {
    await this.#redis.ping();
  }

  /** Hears of nothing any more, and leaves its offers behind. */
  async die(): Promise<void> {
    await this.#redis.quit();
  }
}
