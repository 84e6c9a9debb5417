/** The resources that one instance may use. `pids` counts processes and threads. */
export interface CgroupLimits {
  readonly memoryMiB: number;
  readonly cpu: number;
  readonly pids: number;
  /** The most that may be read of each disk, MiB/s. */
  readonly diskReadMiBps: number;
  /** The instance's share of a busy processor next to other instances; normal where it is not said. */
  readonly weight?: Weight;
}

export type Weight = 'normal' | 'low';

export const CONTROLLERS = ['memory', 'pids', 'cpu', 'io'] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** Makes cgroups on this machine; version 1 and version 2 differ behind it. */
export interface CgroupDriver {
  readonly label: 'cgroup-v1' | 'cgroup-v2';
  /** The controllers that this process may use. Never empty. */
  readonly controllers: ReadonlySet<Controller>;
  /** Tells whether a cgroup can be frozen here. */
  readonly freezes: boolean;
  /** Tells whether buffers of TCP and UDP sockets are limited here; those of Unix sockets are memory like any other. */
  readonly limitsSockets: boolean;
  /** @param name one path segment, unique on this machine */
  create(name: string, limits: CgroupLimits): Promise<Cgroup>;
  /** Names of the cgroups that there are, also those of other workers. */
  list(): Promise<string[]>;
  /** A cgroup that an earlier process made. */
  find(name: string): Cgroup;
}

/** create → add → (setWeight | setFrozen | oomKills)* → kill* → remove */
export interface Cgroup {
  /**
   * Sets the weight at once: a cold start waits for it, and the way through the thread pool costs ten times as much as the
   * call.
   */
  setWeight(weight: Weight): void;
  /**
   * Stops every process in it where it stands, or lets all of them go on; at once, as a call waits for it. Does nothing where
   * nothing can be frozen here.
   * @throws Error where the kernel refuses
   */
  setFrozen(isFrozen: boolean): void;
  add(pid: number): Promise<void>;
  /** Returns how many processes the kernel has killed in the cgroup because it was out of memory. */
  oomKills(): Promise<number>;
  /** Sends SIGKILL to every process in it, frozen or not; true when there was none left. */
  kill(): Promise<boolean>;
  /** Removes it; only when it is empty. Does nothing where it is gone. */
  remove(): Promise<void>;
}

/** The kernel's period for CPU limits, microseconds; 100 ms is its default. */
export const CPU_PERIOD_US = 100_000;
/** The kernel takes no smaller quota. */
const MIN_CPU_QUOTA_US = 1000;

export const cpuQuotaUs = (cpu: number) => Math.max(MIN_CPU_QUOTA_US, Math.round(cpu * CPU_PERIOD_US));
/** The part of the memory of an instance that its sockets may hold in buffers besides, where they are counted apart. */
const SOCKET_SHARE = 0.25;

export const socketBytes = (memoryMiB: number) => Math.ceil(memoryMiB * SOCKET_SHARE * 1024 * 1024);
export const bytesOf = (mib: number) => mib * 1024 * 1024;
