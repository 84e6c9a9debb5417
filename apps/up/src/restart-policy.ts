import type { Ending } from './ending.ts';

/** Exit code of a part whose configuration is wrong (sysexits.h, EX_CONFIG): starting it again would not help. */
export const EXIT_CONFIGURATION = 78;

const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5000;
/** A part that was usable for this long is well: what ends it now is a new trouble, not the old one again. */
const WELL_AFTER_MS = 30_000;

export interface History {
  readonly ending: Ending;
  /** Whether it has ever been ready, in this run or an earlier one. */
  readonly everReady: boolean;
  /** Time that it was ready in the run that has ended, ms; 0 if it was not. */
  readonly readyForMs: number;
  /** Restarts in a row before this one, none of which lasted. */
  readonly restarts: number;
}

export type Verdict =
  | { readonly action: 'restart'; readonly delayMs: number; readonly restarts: number }
  | { readonly action: 'give up'; readonly reason: 'configuration' | 'never ready' };

/**
 * Decides what to do about a part that has ended though nobody asked it to.
 *
 * A part that has worked is started again for ever, more and more slowly. One that never has worked is not: whoever
 * typed `up` is there to read why.
 */
export function judge({ ending, everReady, readyForMs, restarts }: History): Verdict {
  if (ending.code === EXIT_CONFIGURATION) return { action: 'give up', reason: 'configuration' };
  if (!everReady) return { action: 'give up', reason: 'never ready' };
  const before = readyForMs >= WELL_AFTER_MS ? 0 : restarts;
  return { action: 'restart', delayMs: Math.min(FIRST_DELAY_MS * 2 ** before, MAX_DELAY_MS), restarts: before + 1 };
}
