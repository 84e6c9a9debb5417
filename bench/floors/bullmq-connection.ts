import { Redis } from 'ioredis';

/** A connection as BullMQ wants it. */
export const connection = (): Redis => new Redis({ path: process.env.REDIS_PATH ?? '', maxRetriesPerRequest: null });

/** Numbers of finished jobs that most people keep. */
export const KEEP = { removeOnComplete: 1000, removeOnFail: 1000 } as const;
