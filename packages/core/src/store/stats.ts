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
 * The format of packed stats: four little-endian doubles in the order of {@link Stats}. Lua writes and reads them as they are: to make
 * text of four numbers, and numbers of the text, would take Redis as long as a fifth of all that it does for a task.
 */
export const FIGURES_FORMAT = '<dddd';

/** @param packed null where no task has that status yet */
export function parseStats(packed: Buffer | null): Stats {
  // Another release may have packed fewer, or others behind these.
  const at = (offset: number) => (packed !== null && packed.length >= offset + 8 ? packed.readDoubleLE(offset) : null);
  return { settled: at(0) ?? 0, runMsSum: at(8) ?? 0, averageRunMs: at(16), averageQueuedMs: at(24) };
}
