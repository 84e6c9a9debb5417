import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { ASYNC_QUEUE_MS, CALLER_QUEUE_MS } from '@pilum/core/schemas/artifact-spec.ts';
import type { TaskMode } from '@pilum/core/schemas/task.ts';

/** How long a task may wait in its queue, ms: as its version says, else a day where nobody waits for it, and minutes where someone does. */
export function queueWaitMs({ timeouts }: ArtifactSpec, mode: TaskMode): number {
  return timeouts.queueMs ?? (mode === 'async' ? ASYNC_QUEUE_MS : CALLER_QUEUE_MS);
}
