import { CHANNEL_WORK } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { SETTLE_ARGS, SETTLE_CONSTANTS } from '../store/task-scripts.ts';
import { TAKE_CONSTANTS } from './take.ts';

/** Failed jobs that are kept per queue, for Bull Board; and how many over that go at once. */
const KEPT_JOBS = 100;
const KEPT_OVER = 20;
/** Offers of one artifact: those that are oldest go, as those of dead workers do. */
const MOST_OFFERS = 10_000;

export const END = defineScript({
  file: new URL('lua/end.lua', import.meta.url),
  keys: ['queue'],
  args: [...SETTLE_ARGS, 'nowMs', 'token', 'keptData', 'failure', 'nextToken', 'workerId', 'offerSlot'],
  constants: { ...SETTLE_CONSTANTS, ...TAKE_CONSTANTS, CHANNEL_WORK, KEPT_JOBS, KEPT_OVER, MOST_OFFERS },
});
