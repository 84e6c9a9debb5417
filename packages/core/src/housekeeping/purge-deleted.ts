import type { QueueLook } from '../queue/task-queues.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import type { ArtifactStore } from '../store/artifact-store.ts';
import type { KeptStore } from '../store/kept-store.ts';

/** Time that one can still read how a task of a deleted artifact ended, ms: the caller who waited for it asks now. */
const GRACE_MS = 5000;
/** Pieces that are removed of one artifact in one round. */
const PIECES = 50;
/** A task of the old artifact that is still not settled after so long is left to run out by itself, ms. */
const LONGEST_MS = 3_600_000;

/**
 * Removes what the tasks of a deleted artifact have left, as much as one round may.
 * @returns whether nothing of it is left
 */
export async function purgeDeleted(
  kept: KeptStore,
  artifacts: ArtifactStore,
  ref: ArtifactRef,
  look: QueueLook,
  signal: AbortSignal,
): Promise<boolean> {
  const { purgeUntilMs, deletedAtMs, active, nowMs } = look;
  if (purgeUntilMs === null) return true;
  if (nowMs < purgeUntilMs + GRACE_MS) return false;
  for (let piece = 0; ; piece += 1) {
    if (piece === PIECES || signal.aborted) return false;
    const { removed, staying } = await kept.purge(ref, purgeUntilMs, nowMs - GRACE_MS);
    if (removed > 0) continue;
    if (staying > 0) return false;
    break;
  }
  // Where its id was used again, tasks of the old one may still run.
  const isOver = active === 0 || nowMs > purgeUntilMs + LONGEST_MS;
  if (deletedAtMs === null && isOver) await artifacts.endPurge(ref, purgeUntilMs);
  return true;
}
