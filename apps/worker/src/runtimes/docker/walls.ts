import type { Walls } from '@pilum/core/spec/walls.ts';
import type { EngineFacts } from './engine.ts';

/** The walls around containers, as far as the Engine says what it does. */
export function wallsOfContainers(facts: EngineFacts, pauseAfterMs: number): Walls {
  const { unlimited, hasFilter, cgroupVersion } = facts;
  const filtered = hasFilter ? null : 'the Engine has no filter of system calls';
  const limited = (what: string) => (unlimited.includes(what) ? `this Engine does not limit ${what}` : null);
  return {
    sandbox: null,
    seccomp: filtered,
    userns: filtered,
    network: null,
    memory: limited('memory') ?? limited('swap'),
    cpu: limited('CPU'),
    pids: limited('processes'),
    sockets: cgroupVersion === '2' ? null : 'an Engine on cgroups of version 1 does not count socket buffers',
    'disk-size': null,
    'disk-reads': 'what containers read is not limited',
    freezer: pauseAfterMs === 0 ? 'idle containers are not paused (PILUM_DOCKER_PAUSE_AFTER_MS=0)' : null,
    watching: 'instances see who opens the code and the bootstraps that they share (inotify)',
  };
}
