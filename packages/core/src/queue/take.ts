import { KEYS_CONSTANTS } from '../redis/keys.ts';
import { DELAYED_SCORE_PER_MS, PRIORITY_SCORE } from './bull-format.ts';
import { LOCK_DURATION_MS } from './lock-times.ts';

/** The constants that take.lua needs, for each script that includes it. */
export const TAKE_CONSTANTS = { ...KEYS_CONSTANTS, DELAYED_SCORE_PER_MS, LOCK_DURATION_MS, PRIORITY_SCORE } as const;
