/** Someone who takes slots for one artifact, and is called when one may be free that it could not get before. */
export interface SlotTaker {
  readonly artifact: string;
  wake(): void;
}

/**
 * A slot that is kept for an artifact's next task: whoever accepts that gives it to the slot at once. It is in use until it
 * is taken back, or its task comes.
 */
export interface SlotOffer {
  readonly artifact: string;
  /** Asks for it back: sooner or later {@link Slots.takeBack} or {@link Slots.use} is called. Cheap, and never fails. */
  recall(): void;
}

/** The share of an artifact in the slots. */
export interface Share {
  /** Weight against others that wait: an artifact of weight 3 gets three slots for each of one of weight 1. */
  readonly weight: number;
  /** Slots of this worker that are kept free for it. */
  readonly reserved: number;
}

/**
 * A slot is not passed on before, ms: where more artifacts have work than there is memory for instances, each turn of another
 * one may cost the start of an instance, and is to be worth it.
 */
const LEAST_HOLD_MS = 25;

const USUAL_SHARE: Share = { weight: 1, reserved: 0 };

/**
 * The tasks that a worker may run at once, over all artifacts. While slots are free, whoever comes gets one. Those who find
 * none wait in line, and a slot that is freed goes to the artifact that has had the least for its weight, so a busy one
 * cannot starve a quiet one: start-time fair queueing (P. Goyal, H. Vin, H. Cheng, 1996), where every task is of one size.
 * What is reserved for an artifact stays free for it; but one slot is never reserved. A slot whose artifact has nothing to
 * run may be offered instead of released; when somebody else wants one and none is free, the oldest offer is recalled.
 */
export class Slots {
  readonly capacity: number;
  readonly #waiting = new Set<SlotTaker>();
  /** The oldest first; true once it is recalled. */
  readonly #offers = new Map<SlotOffer, boolean>();
  /** Slots in use, offers included. */
  readonly #takenBy = new Map<string, number>();
  readonly #shares = new Map<string, Share>();
  /** Virtual time at which an artifact has used up what it has had; only of those that are ahead of now. */
  readonly #finish = new Map<string, number>();
  /** Virtual time: when the task that was begun last was due. */
  #now = 0;
  #taken = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Sets an artifact's share; the usual one where none is given. */
  setShare(artifact: string, share: Share = USUAL_SHARE): void {
    if (share.weight === USUAL_SHARE.weight && share.reserved === USUAL_SHARE.reserved) this.#shares.delete(artifact);
    else this.#shares.set(artifact, share);
    this.#wakeFirst();
  }

  /** Takes a slot if one is free for the taker and nobody in line is to have it first; else puts the taker in line. */
  tryTake(taker: SlotTaker): boolean {
    const free = this.#free;
    const first = this.#first(free, taker);
    const isFree = this.#isFreeFor(taker.artifact, free);
    if (!isFree || (first !== null && !this.#goesBefore(taker, first))) {
      this.#waiting.add(taker);
      // Who is to have it may have been told of another one, that somebody else was quicker to take.
      if (isFree) first?.wake();
      else this.recallOldest();
      return false;
    }
    this.#waiting.delete(taker);
    this.#taken++;
    this.#takenBy.set(taker.artifact, (this.#takenBy.get(taker.artifact) ?? 0) + 1);
    this.#charge(taker.artifact);
    // Where several were freed at once, only the first in line was told, each time.
    if (this.#free > 0) this.#first(this.#free)?.wake();
    return true;
  }

  /**
   * Whether the slot that `taker` holds should go to another, now that its task is done; if not, it is taken once more.
   * @param heldForMs how long it has held the slot, ms
   */
  shouldYield(taker: SlotTaker, heldForMs = Number.POSITIVE_INFINITY): boolean {
    const first = heldForMs < LEAST_HOLD_MS ? null : this.#first(this.#free + 1, taker);
    if (first !== null && !this.#isBefore(taker, first)) return true;
    this.#charge(taker.artifact);
    return false;
  }

  release(taker: SlotTaker): void {
    this.#taken--;
    this.#vacate(taker.artifact);
  }

  /** Offers a slot that was taken. */
  offer(offer: SlotOffer): void {
    this.#taken--;
    this.#offers.set(offer, false);
    this.#wakeFirst();
  }

  /** The task has come that a slot was offered for: the slot is taken again. */
  use(offer: SlotOffer): void {
    if (!this.#offers.delete(offer)) return;
    this.#taken++;
    this.#charge(offer.artifact);
    // Who waits for what came of it waits for another now.
    this.#wakeFirst();
  }

  /** An offer stands no more: its slot is free. */
  takeBack(offer: SlotOffer): void {
    if (this.#offers.delete(offer)) this.#vacate(offer.artifact);
  }

  /** A recall that Redis did not hear of: the offer stands, and may be recalled again. */
  keep(offer: SlotOffer): void {
    if (this.#offers.has(offer)) this.#offers.set(offer, false);
  }

  /** Leaves the line, as one does who has nothing to run or no instance to run it. */
  leave(taker: SlotTaker): void {
    if (this.#waiting.delete(taker)) this.#wakeFirst();
  }

  /** Whether a slot is neither taken nor offered. */
  get hasFree(): boolean {
    return this.#free > 0;
  }

  get #free(): number {
    return this.capacity - this.#taken - this.#offers.size;
  }

  /** One slot fewer is in use. */
  #vacate(artifact: string): void {
    const left = (this.#takenBy.get(artifact) ?? 1) - 1;
    if (left > 0) this.#takenBy.set(artifact, left);
    else this.#takenBy.delete(artifact);
    if ((this.#finish.get(artifact) ?? 0) <= this.#now) this.#finish.delete(artifact);
    this.#wakeFirst();
  }

  /** Recalls one offer, for somebody who wants its slot, or what its instance has. Those within a reserved share stand. */
  recallOldest(): void {
    for (const [offer, isRecalled] of this.#offers) {
      const { reserved } = this.#shareOf(offer.artifact);
      if (isRecalled || (this.#takenBy.get(offer.artifact) ?? 0) <= reserved) continue;
      this.#offers.set(offer, true);
      offer.recall();
      return;
    }
  }

  #shareOf(artifact: string): Share {
    return this.#shares.get(artifact) ?? USUAL_SHARE;
  }

  /** Whether one of so many free slots is for the artifact, and not kept for others. */
  #isFreeFor(artifact: string, free: number): boolean {
    if (free <= 0) return false;
    if (this.#shares.size === 0) return true;
    const { reserved } = this.#shareOf(artifact);
    return (this.#takenBy.get(artifact) ?? 0) < reserved || free > this.#keptForOthers(artifact);
  }

  #keptForOthers(artifact: string): number {
    let unused = 0;
    let all = 0;
    for (const [other, { reserved }] of this.#shares) {
      all += reserved;
      if (other !== artifact) unused += Math.max(0, reserved - (this.#takenBy.get(other) ?? 0));
    }
    // What has no reservation must not starve where everything is reserved.
    return Math.max(0, unused - Math.max(0, all - (this.capacity - 1)));
  }

  /** Finds who of the others in line is to have the next of so many free slots. */
  #first(free: number, except: SlotTaker | null = null): SlotTaker | null {
    let first: SlotTaker | null = null;
    for (const taker of this.#waiting) {
      if (taker === except || !this.#isFreeFor(taker.artifact, free)) continue;
      if (first === null || this.#isBefore(taker, first)) first = taker;
    }
    return first;
  }

  /** Tells whether `a` goes before `b`; among equals the one that came first does. */
  #goesBefore(a: SlotTaker, b: SlotTaker): boolean {
    if (this.#isBefore(a, b)) return true;
    if (this.#isBefore(b, a) || !this.#waiting.has(a)) return false;
    for (const taker of this.#waiting) if (taker === a || taker === b) return taker === a;
    return false;
  }

  #isBefore(a: SlotTaker, b: SlotTaker): boolean {
    return this.#startOf(a.artifact) < this.#startOf(b.artifact);
  }

  /** Time at which the artifact's next task is due in virtual time; one that was away has no credit for that. */
  #startOf(artifact: string): number {
    return Math.max(this.#now, this.#finish.get(artifact) ?? 0);
  }

  #charge(artifact: string): void {
    this.#now = this.#startOf(artifact);
    this.#finish.set(artifact, this.#now + 1 / this.#shareOf(artifact).weight);
  }

  #wakeFirst(): void {
    if (this.#waiting.size === 0) return;
    const free = this.#free;
    const first = free > 0 ? this.#first(free) : null;
    if (first !== null) first.wake();
    else this.recallOldest();
  }
}
