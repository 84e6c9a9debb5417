import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { ASYNC_QUEUE_MS, CALLER_QUEUE_MS } from '@pilum/core/schemas/artifact-spec.ts';
import type { TaskMode } from '@pilum/core/schemas/task.ts';

/** Returns the longest time of a task in its queue, ms: the version's own, else a day for an async task and minutes for one with a waiting caller. */
export function queueWaitMs({ timeouts }: ArtifactSpec, mode: TaskMode): number {
  return timeouts.queueMs ?? (mode === 'async' ? ASYNC_QUEUE_MS : CALLER_QUEUE_MS);
}
