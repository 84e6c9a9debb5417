import { hostname } from 'node:os';
import { clockSkewMs, sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { InstanceInfo, WorkerInfo } from '@pilum/core/schemas/worker.ts';
import type { InstanceCapacity } from '../capacity/capacity.ts';
import type { QueueConsumers } from '../consumers/consumers.ts';
import type { InstancePools } from '../pool/instance-pools.ts';
import type { AvailableRuntimes } from '../runtimes/available-runtimes.ts';
import type { Slots } from '../slots/slots.ts';

export interface SelfDescriptionDeps {
  readonly workerId: string;
  readonly release: string;
  readonly runtimes: AvailableRuntimes;
  readonly slots: Slots;
  readonly capacity: InstanceCapacity;
  readonly pools: InstancePools;
  readonly consumers: QueueConsumers;
  /** Names the keys for secrets that it has. */
  readonly secretKeys: () => readonly string[];
  /** Aborted when the worker takes nothing new. */
  readonly draining: AbortSignal;
}

/** The description that a worker gives others of itself. */
export class SelfDescription {
  readonly #deps: SelfDescriptionDeps;
  #startedAt = '';

  constructor(deps: SelfDescriptionDeps) {
    this.#deps = deps;
  }

  /** @param startedAt when the worker started, as a date */
  open(startedAt: string): void {
    this.#startedAt = startedAt;
  }

  /** Returns the worker and its instances as they are now. */
  now(): { worker: WorkerInfo; instances: InstanceInfo[] } {
    const { workerId, release, runtimes, slots, capacity, pools, consumers, secretKeys, draining } = this.#deps;
    const prewarmed: Record<string, number> = Object.assign({}, ...runtimes.all.map(({ prewarm }) => prewarm?.ready()));
    return {
      worker: {
        workerId,
        host: hostname(),
        pid: process.pid,
        release,
        startedAt: this.#startedAt,
        seenAt: new Date(sharedNow()).toISOString(),
        clockSkewMs: clockSkewMs() ?? 0,
        runtimes: [...runtimes.statuses],
        capacity: { tasks: slots.capacity, cpu: capacity.cpu, memoryMiB: capacity.memoryMiB },
        running: slots.taken,
        inUse: pools.inUse,
        ...(draining.aborted ? { draining: true } : {}),
        prewarmed,
        blanks: prewarmed,
        secretKeys: [...secretKeys()],
        attached: consumers.count,
      },
      instances: pools.infos(),
    };
  }
}
