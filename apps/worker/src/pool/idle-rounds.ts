import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import { isSick } from './health-verdict.ts';
import type { PooledInstance } from './pooled-instance.ts';

/** Instances of one pool that are asked at the same time. */
const ASKED_AT_ONCE = 8;

/** Reason why an idle instance is replaced. */
export type ReplaceReason = 'sick' | 'old';

export interface IdleRoundsDeps {
  /** From the end of a round to the next one, ms. */
  readonly intervalMs: number;
  /** The age at which an instance is replaced, ms. */
  readonly recycleAfterMs: number;
  /** Instances that serve no task at the moment. */
  readonly idle: () => readonly PooledInstance[];
  /** Whether the pool has any instance. */
  readonly hasInstances: () => boolean;
  /** Stops an idle instance; resolves when it is gone and another there, if one is to be. */
  readonly replace: (instance: PooledInstance, reason: ReplaceReason) => Promise<void>;
  readonly logger: Logger;
}

/**
 * Looks after the instances of a pool that serve no task, so that a task does not meet a sick one. A pool has one timer,
 * however many instances it has, and none while it has no instance. What runs a task is left alone: its run timeout
 * watches it.
 */
export class IdleRounds {
  readonly #deps: IdleRoundsDeps;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | null = null;
  #isClosed = false;

  constructor(deps: IdleRoundsDeps) {
    this.#deps = deps;
  }

  /** There is an instance to look after. Cheap, and may be called again and again. */
  begin(): void {
    if (this.#timer !== undefined || this.#isClosed) return;
    this.#timer = setTimeout(() => void this.look(), this.#deps.intervalMs);
    this.#timer.unref();
  }

  /** Goes one round; where one is under way, resolves with that. Never fails. */
  look(): Promise<void> {
    this.#round ??= this.#goRound()
      .catch((error: unknown) => logEvent(this.#deps.logger, 'idle-unseen', { err: error }))
      .finally(() => {
        this.#round = null;
        clearTimeout(this.#timer);
        this.#timer = undefined;
        if (this.#deps.hasInstances()) this.begin();
      });
    return this.#round;
  }

  /** Resolves when no round is under way; may be awaited twice. An instance that is stopped ends what asks it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#round;
  }

  async #goRound(): Promise<void> {
    // One after the other: of those that are kept warm no more than one is away at a time.
    for (const instance of this.#deps.idle()) {
      if (instance.ageMs >= this.#deps.recycleAfterMs) await this.#replace(instance, 'old');
    }
    const toAsk = [...this.#deps.idle()];
    const ask = async () => {
      for (let next = toAsk.pop(); next !== undefined; next = toAsk.pop()) await this.#ask(next);
    };
    await Promise.all(Array.from({ length: Math.min(ASKED_AT_ONCE, toAsk.length) }, ask));
  }

  async #ask(instance: PooledInstance): Promise<void> {
    if (instance.state !== 'ready') return;
    const { tasksRun } = instance;
    const sick = await isSick((withinMs) => this.#check(instance, withinMs));
    // One that has run a task meanwhile was well after it was asked.
    if (sick && instance.tasksRun === tasksRun) await this.#replace(instance, 'sick');
  }

  /** Once a task has it, or the pool closes, an answer is of no use. */
  async #check(instance: PooledInstance, withinMs: number): Promise<boolean> {
    return this.#isClosed || instance.state !== 'ready' || (await instance.check(withinMs));
  }

  async #replace(instance: PooledInstance, reason: ReplaceReason): Promise<void> {
    if (!this.#isClosed && instance.state === 'ready') await this.#deps.replace(instance, reason);
  }
}
