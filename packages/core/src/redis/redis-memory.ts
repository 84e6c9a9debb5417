import type { Redis } from 'ioredis';
import { SystemError } from '../errors/pilum-error.ts';

/** Interval at which Redis is asked how full it is, ms. */
const INTERVAL_MS = 1000;
/** Above this part of its `maxmemory` nothing new is accepted: the rest is for the outcomes of what was. */
export const RESERVED_ABOVE = 0.9;

/** The memory that Redis uses, and may use. */
export interface MemoryUse {
  readonly usedBytes: number;
  /** Null where it has no limit. */
  readonly maxBytes: number | null;
}

/** Asks Redis how full it is; null where it does not say. */
export async function memoryUse(redis: Redis): Promise<MemoryUse | null> {
  const text = await redis.info('memory');
  const field = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  const [usedBytes, maxBytes] = [field('used_memory'), field('maxmemory')];
  if (Number.isNaN(usedBytes)) return null;
  return { usedBytes, maxBytes: maxBytes > 0 ? maxBytes : null };
}

/**
 * Knows how full Redis is, without asking at each call. A Redis that refuses every write would lose its use for what has been accepted
 * as well: who accepts asks here first, so that there is room left for outcomes.
 */
export class RedisMemory {
  readonly #redis: Redis;
  #use: MemoryUse | null = null;
  #asking: Promise<void> | null = null;
  #timer: NodeJS.Timeout | undefined;

  /** @param redis stays its owner's to close */
  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Begins to watch. */
  open(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => void this.#ask(), INTERVAL_MS);
    this.#timer.unref();
    void this.#ask();
  }

  /** Ends it. May be called again. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Whether Redis was so full when it was last asked that what is left is needed for what was accepted before. */
  get isFull(): boolean {
    const { usedBytes = 0, maxBytes = null } = this.#use ?? {};
    return maxBytes !== null && usedBytes > maxBytes * RESERVED_ABOVE;
  }

  /**
   * Refuses where Redis is full. Where it was, it is asked again: it may have room by now.
   * @throws SystemError `REDIS_UNAVAILABLE`
   */
  async requireRoom(): Promise<void> {
    if (this.isFull) await this.#ask();
    if (!this.isFull) return;
    const { usedBytes = 0, maxBytes } = this.#use ?? {};
    if (typeof maxBytes !== 'number') return;
    throw new SystemError('REDIS_UNAVAILABLE', {
      message:
        `Redis has used ${Math.floor((100 * usedBytes) / maxBytes)} % of its maxmemory (OOM is near) and nothing new is ` +
        'accepted, so that the outcomes of what was accepted find room; nothing was stored.',
      hint:
        'Operator: raise its maxmemory, keep less (PILUM_KEPT_MIB, PILUM_NAMESPACE_KEPT_MIB, PILUM_TASK_RETENTION_S), or ' +
        'delete artifacts that are not needed.',
      details: { usedBytes, maxBytes },
    });
  }

  async #ask(): Promise<void> {
    // While there is no connection nothing can be asked.
    if (this.#redis.status !== 'ready') return;
    this.#asking ??= memoryUse(this.#redis)
      .catch(() => null) // Redis itself refuses where it is full; that it may not be asked is said at the start
      .then((use) => {
        this.#use = use;
        this.#asking = null;
      });
    await this.#asking;
  }
}
