import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { ArtifactList } from '@pilum/core/store/artifact-list.ts';
import type { QueueConsumers } from '../consumers/consumers.ts';

/**
 * Takes up the tasks that wait when the worker comes: they are not announced again before the housekeeper's next round, and it
 * helps at once.
 * @throws what Redis throws
 */
export async function takeBacklog(
  active: ArtifactList,
  queues: TaskQueues,
  consumers: QueueConsumers,
  draining: AbortSignal,
): Promise<void> {
  for await (const page of active.pages()) {
    await Promise.all(
      page.map(async (artifact) => {
        const { due } = await queues.look(artifact);
        if (due > 0) consumers.wake(qualifiedId(artifact));
      }),
    );
    if (draining.aborted) return;
  }
}
