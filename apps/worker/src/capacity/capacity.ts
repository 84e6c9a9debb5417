/** The memory and the processors that a worker has for tasks and their instances. */
export interface InstanceCapacity {
  /** Live instances, idle ones included. */
  readonly instances: number;
  /** Memory of all live instances together, MiB. */
  readonly memoryMiB: number;
  /** Processors of all tasks together. An instance that serves no task uses none. */
  readonly cpu: number;
}

/** The resources that the tasks and instances of one version use, or are about to use. */
export interface CapacityUse {
  /** Tasks that have been taken: each has its instance, or is to have one. Those that share one count as one. */
  readonly tasks: number;
  /** Instances that start or serve a task. */
  readonly busy: number;
  /** Instances that are idle, and can be stopped to make room. */
  readonly idle: number;
  /** Instances that are being stopped, and use what they use until they are gone. */
  readonly leaving: number;
  readonly memoryMiB: number;
  readonly cpu: number;
}

/** Limits of processors are decimal fractions, and their sums are not exact. */
const ROUNDING = 1e-6;

/** Adds up what all versions use: with idle instances kept, or with each of them stopped that no task is to have. */
export function totalOf(uses: Iterable<CapacityUse>, idleOnes: 'kept' | 'stopped'): InstanceCapacity {
  let instances = 0;
  let mebibytes = 0;
  let processors = 0;
  for (const { tasks, busy, idle, leaving, memoryMiB, cpu } of uses) {
    const count = Math.max(tasks, idleOnes === 'kept' ? busy + idle : busy) + leaving;
    instances += count;
    mebibytes += count * memoryMiB;
    processors += tasks * cpu;
  }
  return { instances, memoryMiB: mebibytes, cpu: processors };
}

/** Whether so much is there. */
export function fits(use: InstanceCapacity, capacity: InstanceCapacity): boolean {
  return (
    use.instances <= capacity.instances && use.memoryMiB <= capacity.memoryMiB && use.cpu <= capacity.cpu + ROUNDING
  );
}
