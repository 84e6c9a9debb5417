import type { ArtifactSettings, Version } from '@pilum/core/schemas/artifact.ts';
import type { WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { type StoredVersion, UnknownVersion } from '@pilum/core/store/unknown-record.ts';

/** Returns a warning for each setting that exceeds what the live workers can give. Such settings are valid, as more workers may start. */
export function concurrencyWarnings(
  { maxConcurrency, reserved }: ArtifactSettings,
  version: StoredVersion | null,
  workers: readonly WorkerInfo[],
): string[] {
  if (version === null || version instanceof UnknownVersion) return [];
  const able = workers.filter(
    ({ runtimes, draining }) =>
      draining !== true && runtimes.some(({ kind, available }) => kind === version.spec.runtime && available),
  );
  // A call without any able worker gets an error of its own.
  if (able.length === 0) return [];
  const most = able.reduce((sum, worker) => sum + mostTasksOn(worker, version), 0);
  const warnings: string[] = [];
  if (maxConcurrency !== null && maxConcurrency > most) {
    const who =
      able.length === 1 ? 'the one worker that can run it runs' : `the ${able.length} workers that can run it run`;
    warnings.push(
      `maxConcurrency is ${maxConcurrency}, and ${who} ${most} tasks of it at once at most. Start more workers, or raise ` +
        'PILUM_WORKER_CAPACITY, PILUM_WORKER_CPU and PILUM_WORKER_MEMORY_MIB of these, or pool.max and pool.concurrency of the version.',
    );
  }
  const largest = Math.max(0, ...able.map(({ capacity }) => capacity.tasks));
  if (reserved > largest) {
    warnings.push(`reserved is ${reserved}, and no worker that can run it has more than ${largest} slots.`);
  }
  return warnings;
}

function mostTasksOn({ capacity }: WorkerInfo, { spec: { limits, pool } }: Version): number {
  const instances = Math.min(
    pool.max,
    Math.floor(capacity.memoryMiB / limits.memoryMiB),
    Math.floor(capacity.cpu / limits.cpu),
  );
  return Math.min(capacity.tasks, instances * pool.concurrency);
}
