import { logEvent } from '@pilum/core/log/log-events.ts';
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { type TransitionTable, transition } from '@pilum/core/states/transition-table.ts';
import type { Logger } from 'pino';
import type { SlotOffer, Slots } from '../slots/slots.ts';

/** Jobs that have come in another way and whose messages may still be on their way. */
const MOST_BROUGHT = 1000;

type OfferState = 'prepared' | 'early' | 'standing' | 'used' | 'gone';

const OFFER_TRANSITIONS: TransitionTable<OfferState> = {
  prepared: ['standing', 'early', 'gone'],
  early: ['used'],
  standing: ['used', 'gone'],
  used: [],
  gone: [],
};

/** One slot that is, or is about to be, offered. */
interface Offer extends SlotOffer {
  readonly token: string;
  state: OfferState;
  /** Job for which it was taken, where that came early. */
  job: HeldJob | null;
}

export interface WhenUsed {
  /** Runs a job in a slot that is taken for it. */
  readonly begin: (job: HeldJob) => void;
  /** Hears that more or fewer offers stand. */
  readonly onChange: () => void;
}

/**
 * The slots that one consumer offers to the next tasks of its artifact. An offer stands in Redis; whoever accepts a task takes it
 * there, and hands the task's job over in a message. Messages may be faster than the answer that the offer was made:
 *
 *               Redis has it               its job comes, or is what its recall brings
 *     prepared ──────────────▶ standing ────────────────────────────────────────────────▶ used
 *        │  │                      │                                                       ▲
 *        │  │  its job comes       │                  Redis has it, or made it not         │
 *        │  └──────────────────────┼───▶ early ────────────────────────────────────────────┘
 *        │                         │
 *        │ Redis did not make it   │ recalled
 *        └─────────────────────────┴───▶ gone
 *
 * The slots know of an offer while it stands. One that is recalled may have been taken in that moment, or its message may have
 * been lost: then the recall itself brings the job.
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

  /** Prepares an offer, before Redis hears of it; {@link made} is to be called after: its task may come in between. */
  prepare(token: string): Offer {
    const offer: Offer = {
      artifact: this.#artifact,
      token,
      state: 'prepared',
      job: null,
      recall: () => void this.#recall([offer]),
    };
    this.#offers.set(token, offer);
    return offer;
  }

  /**
   * Hears what Redis has answered.
   * @param isOffered whether the slot, which was taken until now, is offered
   * @returns the job that it was taken for already; the slot stays taken then
   */
  made(offer: Offer, isOffered: boolean): HeldJob | null {
    if (offer.state === 'early') {
      this.#go(offer, 'used');
      return offer.job;
    }
    if (!isOffered) {
      this.#go(offer, 'gone');
      return null;
    }
    this.#go(offer, 'standing');
    this.#slots.offer(offer);
    this.#whenUsed.onChange();
    return null;
  }

  /** Hears of a job that has come in another way than its message, which may follow. */
  brought(job: HeldJob): void {
    this.#brought.add(job.token);
    for (const token of this.#brought) if (this.#brought.size > MOST_BROUGHT) this.#brought.delete(token);
  }

  /** Takes a job that was handed over; false where there is no offer that it can be for. */
  handOver(job: HeldJob): boolean {
    return this.#take(job) || this.#brought.delete(job.token);
  }

  #take(job: HeldJob): boolean {
    const offer = this.#offers.get(job.token);
    if (offer === undefined) return false;
    if (offer.state !== 'standing') {
      if (offer.state === 'prepared') this.#go(offer, 'early');
      offer.job = job;
      return true;
    }
    this.#go(offer, 'used');
    this.#slots.use(offer);
    this.#whenUsed.begin(job);
    return true;
  }

  /** Changes an offer's state, and counts by it. */
  #go(offer: Offer, state: OfferState): void {
    if (offer.state === 'standing') this.#standing--;
    offer.state = transition('an offer', OFFER_TRANSITIONS, offer.state, state);
    if (state === 'standing') this.#standing++;
    else if (state === 'used' || state === 'gone') this.#offers.delete(offer.token);
  }

  /** Takes back so many of the offers that stand, the oldest first; all where it is not said. Never fails. */
  async recall(count = Number.POSITIVE_INFINITY): Promise<void> {
    if (count <= 0 || this.#standing === 0) return;
    const standing = [...this.#offers.values()].filter(({ state }) => state === 'standing');
    await this.#recall(standing.slice(0, count));
  }

  async #recall(offers: readonly Offer[]): Promise<void> {
    try {
      const answers = await this.#queue.recall(offers.map(({ token }) => token));
      for (const [index, offer] of offers.entries()) {
        // Its job has come meanwhile.
        if (offer.state !== 'standing') continue;
        const answer = answers[index];
        if (typeof answer === 'object') {
          this.#take(answer);
          this.brought(answer);
        } else {
          this.#go(offer, 'gone');
          this.#slots.takeBack(offer);
          this.#whenUsed.onChange();
        }
      }
    } catch (error) {
      logEvent(this.#logger, 'offer-stands', { err: error, artifact: this.#artifact });
      for (const offer of offers) this.#slots.keep(offer);
    }
  }
}
