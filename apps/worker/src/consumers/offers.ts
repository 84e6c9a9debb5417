import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import type { Logger } from 'pino';
import type { SlotOffer, Slots } from '../slots/slots.ts';

/** Jobs that have come in another way and whose messages may still be on their way. */
const MOST_BROUGHT = 1000;

/** One slot that is, or is about to be, offered. */
interface Offer extends SlotOffer {
  readonly token: string;
  /** Redis has it for certain, and the slots know of it. */
  stands: boolean;
  /** What it was taken for before that was certain: messages may be faster than answers. */
  handed: HeldJob | null;
}

export interface WhenUsed {
  /** Runs a job in a slot that is taken for it. */
  readonly begin: (job: HeldJob) => void;
  /** Hears that more or fewer offers stand. */
  readonly onChange: () => void;
}

/**
 * The slots that one attachment offers to the next tasks of its artifact:
 *
 *     prepare → made → (handOver → begin) | (recall → the slot is free)
 *
 * An offer stands in Redis; whoever accepts a task takes it there, and hands the task's job over in a message. An offer that
 * is recalled may have been taken in that moment, or its message may have been lost: then the recall itself brings the job.
 */
export class Offers {
  readonly #artifact: string;
  readonly #queue: TaskQueue;
  readonly #slots: Slots;
  readonly #logger: Logger;
  readonly #whenUsed: WhenUsed;
  /** By token, the oldest first. */
  readonly #offers = new Map<string, Offer>();
  #standing = 0;
  /** Tokens of the jobs whose messages may follow, the oldest first. */
  readonly #brought = new Set<string>();

  constructor(artifact: string, queue: TaskQueue, slots: Slots, logger: Logger, whenUsed: WhenUsed) {
    this.#artifact = artifact;
    this.#queue = queue;
    this.#slots = slots;
    this.#logger = logger;
    this.#whenUsed = whenUsed;
  }

  /** Those that stand, and those that are about to. */
  get count(): number {
    return this.#offers.size;
  }

  get standing(): number {
    return this.#standing;
  }

  /** To be called before Redis hears of an offer, and {@link made} after: its task may come in between. */
  prepare(token: string): Offer {
    const offer: Offer = {
      artifact: this.#artifact,
      token,
      stands: false,
      handed: null,
      recall: () => void this.#recall([offer]),
    };
    this.#offers.set(token, offer);
    return offer;
  }

  /**
   * Redis has answered.
   * @param isOffered whether the slot, which was taken until now, is offered
   * @returns the job that it was taken for already; the slot stays taken then
   */
  made(offer: Offer, isOffered: boolean): HeldJob | null {
    if (offer.handed !== null || !isOffered) {
      this.#offers.delete(offer.token);
      return offer.handed;
    }
    offer.stands = true;
    this.#standing++;
    this.#slots.offer(offer);
    this.#whenUsed.onChange();
    return null;
  }

  /** A job has come in another way than its message, which may follow. */
  brought(job: HeldJob): void {
    this.#brought.add(job.token);
    for (const token of this.#brought) if (this.#brought.size > MOST_BROUGHT) this.#brought.delete(token);
  }

  /** A job was handed over; false where there is no offer that it can be for. */
  handOver(job: HeldJob): boolean {
    return this.#take(job) || this.#brought.delete(job.token);
  }

  #take(job: HeldJob): boolean {
    const offer = this.#offers.get(job.token);
    if (offer === undefined) return false;
    if (!offer.stands) {
      offer.handed = job;
      return true;
    }
    this.#offers.delete(job.token);
    this.#standing--;
    this.#slots.use(offer);
    this.#whenUsed.begin(job);
    return true;
  }

  /** Takes back so many of the offers that stand, the oldest first; all where it is not said. Never fails. */
  async recall(count = Number.POSITIVE_INFINITY): Promise<void> {
    const standing = [...this.#offers.values()].filter(({ stands }) => stands);
    if (standing.length > 0 && count > 0) await this.#recall(standing.slice(0, count));
  }

  async #recall(offers: readonly Offer[]): Promise<void> {
    try {
      const answers = await this.#queue.recall(offers.map(({ token }) => token));
      for (const [index, offer] of offers.entries()) {
        // Its job has come meanwhile.
        if (this.#offers.get(offer.token) !== offer) continue;
        const answer = answers[index];
        if (typeof answer === 'object') {
          this.#take(answer);
          this.brought(answer);
        } else {
          this.#offers.delete(offer.token);
          this.#standing--;
          this.#slots.takeBack(offer);
          this.#whenUsed.onChange();
        }
      }
    } catch (error) {
      this.#logger.warn({ err: error, artifact: this.#artifact }, 'an offer could not be taken back');
      for (const offer of offers) this.#slots.keep(offer);
    }
  }
}
