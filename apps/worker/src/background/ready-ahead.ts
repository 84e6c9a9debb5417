import { availableParallelism } from 'node:os';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { Logger } from 'pino';
import type { InstancePools } from '../pool/instance-pools.ts';
import type { AvailableRuntimes } from '../runtimes/available-runtimes.ts';
import type { Runtime } from '../runtimes/contract/runtime.ts';
import type { Slots } from '../slots/slots.ts';
import type { VersionCache } from '../tasks/version-cache.ts';

export interface ReadyAheadDeps {
  readonly runtimes: AvailableRuntimes;
  readonly pools: InstancePools;
  readonly slots: Slots;
  readonly versions: VersionCache;
  readonly logger: Logger;
  /** Aborted when the worker takes nothing new. */
  readonly draining: AbortSignal;
}

/** Makes ready what a worker is likely to need before anybody calls it: prewarmed sandboxes, and what has just been deployed. */
export class ReadyAhead {
  readonly #deps: ReadyAheadDeps;
  #startedAt = '';

  constructor(deps: ReadyAheadDeps) {
    this.#deps = deps;
  }

  /** @param startedAt when the worker started, as a date: what was deployed before is not made ready */
  open(startedAt: string): void {
    this.#startedAt = startedAt;
  }

  /** Begins to keep prewarmed sandboxes of a runtime that works. */
  openPrewarm({ kind, prewarm }: Runtime): void {
    const { slots, pools, logger } = this.#deps;
    const spare = {
      // A task that waits takes no processor, and one that computes takes one at most.
      isBusy: () => slots.taken >= availableParallelism(),
      memoryMiB: () => pools.spareMemoryMiB,
    };
    prewarm?.open(spare).catch((error: unknown) => {
      logEvent(logger, 'no-prewarmed', { err: error, runtime: kind });
    });
  }

  /** Makes a version ready that has just been deployed: it is likely to be called. */
  expect(namespace: string, version: Version): void {
    const { runtimes, pools, versions, logger, draining } = this.#deps;
    if (version.createdAt < this.#startedAt || !versions.add(namespace, version)) return;
    const runtime = runtimes.find(version);
    if (runtime === null) return;
    runtime.prewarm?.expect(version).catch(() => undefined); // its check says what is wrong with the runtime
    if (runtime.anticipate === undefined) return;
    pools
      .with(namespace, version, async ({ runnable }) => await runtime.anticipate?.(runnable))
      .catch((error: unknown) => {
        if (draining.aborted) return;
        const { artifactId } = version;
        logEvent(logger, 'not-ready-ahead', { err: error, artifactId, version: version.version });
      });
  }
}
