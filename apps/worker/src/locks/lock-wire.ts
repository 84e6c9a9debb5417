import type { JobLock } from '@pilum/core/queue/held-job.ts';
import type { RedisTls } from '@pilum/core/redis/redis-tls.ts';

/** The data that the thread that renews locks is started with. */
export interface LockThreadData {
  readonly redisUrl: string;
  readonly redisTls: RedisTls | undefined;
  readonly workerId: string;
  readonly logLevel: string;
  /** Two counters: {@link MAIN_LIFE} and {@link THREAD_LIFE}. */
  readonly life: SharedArrayBuffer;
}

/** Indexes into `life`: the count of the main loop, and that of the thread. */
export const MAIN_LIFE = 0;
export const THREAD_LIFE = 1;

export interface ThreadLock extends JobLock {
  /** Given by the keeper: a task may be held twice, under two tokens. */
  readonly id: number;
  readonly namespace: string;
  readonly artifactId: string;
}

export type ToLockThread =
  | {
      readonly kind: 'changes';
      readonly added: readonly ThreadLock[];
      readonly removed: readonly number[];
      /** The main loop was busy: what it says is old, and must not wait for the next renewal. */
      readonly isLate: boolean;
    }
  | { readonly kind: 'close' };

export type FromLockThread =
  | { readonly kind: 'ready' }
  /** Redis is slow to answer the thread, or does not; and then it has. */
  | { readonly kind: 'unanswered' | 'answered' }
  | { readonly kind: 'refused'; readonly ids: readonly number[] }
  | { readonly kind: 'failed'; readonly message: string };
