import type { Walls } from '@pilum/core/spec/walls.ts';
import type { EngineFacts } from './engine.ts';
import type { DockerRuntimeOptions } from './options.ts';

/**
 * The walls around containers, as far as the Engine says what it does.
 * @param freezes whether containers are frozen without the Engine; null where that is not known yet
 */
export function wallsOfContainers(
  { unlimited, hasFilter, sockets }: EngineFacts,
  freezes: boolean | null,
  { freezeAfterMs, pauseAfterMs }: Pick<DockerRuntimeOptions, 'freezeAfterMs' | 'pauseAfterMs'>,
): Walls {
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
    sockets: sockets === null ? 'this Engine does not limit socket buffers' : null,
    'disk-size': null,
    'disk-reads': 'what containers read is not limited',
    freezer: pauseAfterMs > 0 || (freezeAfterMs > 0 && freezes === true) ? null : notFrozen(freezeAfterMs, freezes),
    watching: 'instances see who opens the code and the bootstraps that they share (inotify)',
  };
}

function notFrozen(freezeAfterMs: number, freezes: boolean | null): string {
  const otherwise = 'PILUM_DOCKER_PAUSE_AFTER_MS has the Engine pause them';
  if (freezeAfterMs === 0) return `idle containers are not frozen (PILUM_FREEZE_AFTER_MS=0); ${otherwise}`;
  const why =
    freezes === null
      ? 'no container was idle yet that this worker could freeze'
      : 'this worker cannot reach the cgroups of containers';
  return `${why}; ${otherwise}`;
}
