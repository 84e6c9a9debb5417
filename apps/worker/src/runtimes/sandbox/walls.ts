import type { Walls } from '@pilum/core/spec/walls.ts';
import type { CgroupDriver, Controller } from './cgroup/cgroup.ts';
import type { WorkingSandbox } from './launcher.ts';

const NO_SANDBOX = 'functions run without a sandbox (PILUM_ISOLATION=none)';
const NO_CGROUP = 'no cgroup can be made';

/**
 * The walls around the processes that a worker makes on this machine.
 * @param sandbox null where processes run without one
 * @param freezeAfterMs idle processes are frozen after so long, ms; 0 for never
 */
export function wallsOf(cgroups: CgroupDriver | null, sandbox: WorkingSandbox | null, freezeAfterMs: number): Walls {
  const limited = (controller: Controller) =>
    cgroups === null ? NO_CGROUP : cgroups.controllers.has(controller) ? null : `no cgroup limits ${controller}`;
  const sandboxed = sandbox === null ? NO_SANDBOX : null;
  const filtered = sandbox === null ? NO_SANDBOX : sandbox.unfiltered;
  return {
    sandbox: sandboxed,
    seccomp: filtered,
    // Either is enough.
    userns: sandbox?.features.disableUserns === true ? null : filtered,
    network: sandboxed,
    memory: limited('memory'),
    cpu: limited('cpu'),
    pids: limited('pids'),
    sockets:
      cgroups === null
        ? NO_CGROUP
        : cgroups.limitsSockets
          ? null
          : 'the kernel limits no socket buffers of a cgroup here (version 1 without kmem.tcp, or cgroup.memory=nosocket)',
    'disk-size': sandbox === null || sandbox.features.size ? sandboxed : 'it takes bubblewrap 0.8',
    'disk-reads': limited('io'),
    freezer: cannotFreeze(cgroups, freezeAfterMs),
    watching: filtered,
  };
}

function cannotFreeze(cgroups: CgroupDriver | null, freezeAfterMs: number): string | null {
  if (cgroups === null) return NO_CGROUP;
  if (!cgroups.freezes)
    return 'no cgroup can be frozen here (it takes cgroups of version 2, at least beside those of version 1, and Linux 5.2)';
  return freezeAfterMs === 0 ? 'idle processes are not frozen (PILUM_FREEZE_AFTER_MS=0)' : null;
}
