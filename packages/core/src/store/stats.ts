import type { SettledStatus } from '../states/states.ts';

/** Totals over an artifact's settled tasks of one status. */
export interface Stats {
  readonly settled: number;
  /** Sum over all of them, ms. */
  readonly runMsSum: number;
  /** Running averages, ms; null before the first. */
  readonly averageRunMs: number | null;
  readonly averageQueuedMs: number | null;
}

/** Prefix of the field of the artifact's stats in which the stats of a status stand. */
export const FIGURES_PREFIX = 'figures:';
export const statsField = (status: SettledStatus) => `${FIGURES_PREFIX}${status}`;

/**
 * How stats are packed: four little-endian doubles in the order of {@link Stats}. Lua writes and reads them as they are: to make
 * text of four numbers, and numbers of the text, would take Redis as long as a fifth of all that it does for a task.
 */
export const FIGURES_FORMAT = '<dddd';

/** @param packed null where no task has that status yet */
export function parseStats(packed: Buffer | null): Stats {
  if (packed === null) return { settled: 0, runMsSum: 0, averageRunMs: null, averageQueuedMs: null };
  return {
    settled: packed.readDoubleLE(0),
    runMsSum: packed.readDoubleLE(8),
    averageRunMs: packed.readDoubleLE(16),
    averageQueuedMs: packed.readDoubleLE(24),
  };
}
