import type { Redis } from 'ioredis';
import { WORKER_INDEX, workerChannel, workerInstancesKey, workerKey } from '../redis/keys.ts';
import { sharedNow } from '../redis/shared-time.ts';
import { readRecord } from '../schemas/check.ts';
import {
  type InstanceInfo,
  InstanceRecord,
  type WorkerInfo,
  type WorkerOrder,
  WorkerRecord,
} from '../schemas/worker.ts';

/** A worker that has not been heard of for this long counts as dead, s. */
export const WORKER_EXPIRY_S = 10;

/** The workers that are there to run tasks. Entries expire, so a worker that dies leaves by itself. */
export class WorkerRegistry {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Says that a worker lives, and what it has; to be repeated well within {@link WORKER_EXPIRY_S}. */
  async report(worker: WorkerInfo, instances: readonly InstanceInfo[]): Promise<void> {
    const now = sharedNow();
    await Promise.all([
      this.#redis.set(workerKey(worker.workerId), JSON.stringify(worker), 'EX', WORKER_EXPIRY_S),
      this.#redis.set(workerInstancesKey(worker.workerId), JSON.stringify(instances), 'EX', WORKER_EXPIRY_S),
      this.#redis.zadd(WORKER_INDEX, now, worker.workerId),
      this.#redis.zremrangebyscore(WORKER_INDEX, '-inf', now - 10 * WORKER_EXPIRY_S * 1000),
    ]);
  }

  /** Tells a worker what an operator wants; false where it does not hear of it. */
  async tell(workerId: string, order: WorkerOrder): Promise<boolean> {
    return (await this.#redis.publish(workerChannel(workerId), JSON.stringify(order))) > 0;
  }

  async remove(workerId: string): Promise<void> {
    await Promise.all([
      this.#redis.del(workerKey(workerId)),
      this.#redis.del(workerInstancesKey(workerId)),
      this.#redis.zrem(WORKER_INDEX, workerId),
    ]);
  }

  /** All live workers. Of those of newer releases a word may be none that this release knows. */
  async workers(): Promise<WorkerInfo[]> {
    const workers = await this.#all(workerKey);
    return workers.flatMap((worker) => (readRecord(WorkerRecord, worker) as WorkerInfo | null) ?? []);
  }

  /** Instances of all live workers, read in the same way. */
  async instances(): Promise<InstanceInfo[]> {
    const instances = (await this.#all(workerInstancesKey)).flat();
    return instances.flatMap((instance) => (readRecord(InstanceRecord, instance) as InstanceInfo | null) ?? []);
  }

  async #all(keyOf: (workerId: string) => string): Promise<unknown[]> {
    const ids = await this.#redis.zrange(WORKER_INDEX, '0', '-1');
    const texts = await Promise.all(ids.map((id) => this.#redis.get(keyOf(id))));
    return texts.filter((text) => text !== null).map((text): unknown => JSON.parse(text));
  }
}
