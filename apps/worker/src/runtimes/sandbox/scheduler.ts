import { execa } from 'execa';

/**
 * Functions run under SCHED_BATCH (sched(7)): one that wakes does not take the processor from whoever has it, and waits for
 * the end of that turn. A worker that hands out tasks, an API process and Redis are mostly in the middle of the next
 * message when a function wakes, and are done with it soon; all of a call costs a tenth less processor for it. This
 * scheduling takes no right, and a function has the same share of the processor as before.
 */
const BATCH = ['-b', '0'] as const;
/**
 * The paths at which util-linux or busybox put the program: the environment of a function is its own, and may name other
 * places.
 */
const PLACES = ['/usr/bin/chrt', '/bin/chrt'];

/**
 * Finds the prefix that puts a command under the scheduling of functions: empty where there is no `chrt`, or where it may
 * not.
 */
export async function findScheduler(): Promise<readonly string[]> {
  for (const path of PLACES) {
    const { failed } = await execa(path, [...BATCH, 'true'], { reject: false, stdio: 'ignore', timeout: 10_000 });
    if (!failed) return [path, ...BATCH];
  }
  return [];
}
