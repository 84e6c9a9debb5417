import { setTimeout as sleep } from 'node:timers/promises';
import type { Cgroup } from './cgroup.ts';

/** The time after which the caller is told, ms: a process in the kernel's hands (a hung disk) can take any time to go. */
const GIVE_UP_MS = 10_000;

/**
 * Kills all that is in a cgroup, until it is empty, and removes it.
 * @throws Error where something in it cannot be killed
 */
export async function endCgroup(group: Cgroup): Promise<void> {
  const since = performance.now();
  for (let waitMs = 1; !(await group.kill()); waitMs = Math.min(waitMs * 2, 50)) {
    if (performance.now() - since > GIVE_UP_MS) throw new Error('a process in the cgroup does not die');
    await sleep(waitMs);
  }
  for (;;) {
    try {
      return await group.remove();
    } catch (error) {
      // The kernel counts a process out a moment after its last thread has gone.
      const isBusy = (error as NodeJS.ErrnoException).code === 'EBUSY';
      if (!isBusy || performance.now() - since > GIVE_UP_MS) throw error;
      await sleep(2);
    }
  }
}
