import { KEYS_CONSTANTS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

/**
 * Size up to which a settled task is left uncounted, bytes: its record alone, which the number of kept tasks bounds. A larger one
 * is counted with all that it holds.
 */
export const LIGHT_BYTES = 2048;

/** Entries that are let go in one step at most: a step holds Redis up for less than a millisecond. */
const MOST_PIECES = 64;

/** The line in the place of a log that was let go. */
const LET_GO_LINE =
  'This log is no longer kept: the tasks of this artifact held more than they may (PILUM_KEPT_MIB), and the oldest go first.';

/** The constants that let-go.lua needs, for each script that includes it. */
export const LET_GO_CONSTANTS = { ...KEYS_CONSTANTS, LET_GO_LINE, LIGHT_BYTES, MOST_PIECES } as const;

export const LET_GO_OLDEST = defineScript({
  file: new URL('lua/let-go-oldest.lua', import.meta.url),
  keys: ['queue'],
  args: ['mostBytes', 'before'],
  constants: LET_GO_CONSTANTS,
});

export const SWEEP_KEPT = defineScript({
  file: new URL('lua/sweep-kept.lua', import.meta.url),
  keys: ['queue'],
  args: ['from', 'count'],
  constants: KEYS_CONSTANTS,
});
