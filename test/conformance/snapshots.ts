import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';

/** A version of a spec with its defaults filled in. */
export function fill(input: ArtifactSpecInput): Version {
  const { limits, timeouts, retry, pool, ...rest } = input;
  return {
    artifactId: 'test',
    version: 1,
    state: 'ready',
    contentHash: 'test',
    code: null,
    createdAt: new Date(0).toISOString(),
    spec: {
      protocol: input.command === undefined ? 'handler' : 'stdio',
      env: {},
      dependsOn: [],
      labels: {},
      ...rest,
      limits: { memoryMiB: 256, cpu: 1, pids: 64, diskMiB: 64, outputMiB: 16, network: 'none', ...limits },
      timeouts: { runMs: 30_000, queueMs: 300_000, startMs: 10_000, ...timeouts },
      retry: {
        attempts: 1,
        ...retry,
        backoff: { type: 'exponential', delayMs: 1000, jitter: 0.5, ...retry?.backoff },
      },
      pool: { min: 0, max: 16, concurrency: 1, idleTimeoutMs: 60_000, healthCheckIntervalMs: 10_000, ...pool },
    },
  };
}
