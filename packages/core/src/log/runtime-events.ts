import type { LogEvent } from './log-events.ts';

/** The lines about instances and what they run in, which are a part of the table of all lines. */
export const RUNTIME_EVENTS = {
  'cgroups-refused': {
    level: 'warn',
    says: 'cgroups cannot be used; instances run with the limits that need none',
    act: 'Give the worker cgroups: memory and processor are not limited without.',
  },
  'cgroup-removed': {
    level: 'info',
    says: 'the cgroup of a dead worker was removed',
    act: 'Nothing.',
  },
  'cgroup-not-removed': {
    level: 'warn',
    says: 'the cgroup of a dead worker could not be removed; this is tried again each round',
    act: 'Look at the error if it stays so.',
  },
  'relay-ended': {
    level: 'error',
    says: 'the relay of networks has ended; the instances whose networks it had are ended, and the next one starts another',
    act: 'Nothing, if it is rare: tasks that it took with it are run again. Often: look at `why`, and at the memory of the machine.',
  },
  'process-runtime-refused': {
    level: 'error',
    says: 'the process runtime cannot run instances here; the worker checks it again',
    act: 'Mend what the error says; until then others run its tasks.',
  },
  'prewarmed-died': {
    level: 'warn',
    says: 'a prewarmed sandbox has died; another one is made after a pause',
    act: 'Look at the memory of the machine if it happens again.',
  },
  'prewarmed-not-made': {
    level: 'warn',
    says: 'a prewarmed sandbox could not be made; the next one is tried after a pause',
    act: 'Look at the error if it stays so. Functions start without one.',
  },
  'prewarmed-not-used': {
    level: 'warn',
    says: 'a prewarmed sandbox could not be used; the instance is started without one',
    act: 'Nothing.',
  },
  'container-end-unread': {
    level: 'error',
    says: 'the end of a container could not be read; it is taken as ended',
    act: 'Look at the Docker Engine.',
  },
  'container-not-paused': {
    level: 'debug',
    says: 'an idle container could not be paused; it goes on unpaused',
    act: 'Nothing.',
  },
  'container-not-removed': {
    level: 'debug',
    says: 'a container could not be removed; it is removed when the Engine answers',
    act: 'Nothing.',
  },
  'instance-not-woken': {
    level: 'warn',
    says: 'a frozen instance could not be woken; it is given up as lost',
    act: 'Look at the error: the Docker Engine, or the rights of the worker in its cgroups.',
  },
  'instance-not-frozen': {
    level: 'warn',
    says: 'an idle instance could not be frozen; it goes on until its next call has ended',
    act: 'Look at the error: the rights of the worker in its cgroups.',
  },
  'ending-not-woken': {
    level: 'warn',
    says: 'an instance that is to end could not be woken; it is killed after its grace',
    act: 'Nothing, unless it happens again.',
  },
  'sigterm-not-sent': {
    level: 'warn',
    says: 'SIGTERM could not be sent to an instance; it is killed after its grace',
    act: 'Nothing.',
  },
  'instance-remains': {
    level: 'error',
    says: 'processes or the cgroup of an ended instance are left; they are removed as orphans',
    act: 'Look at the error if it happens again.',
  },
} as const satisfies Readonly<Record<string, LogEvent>>;
