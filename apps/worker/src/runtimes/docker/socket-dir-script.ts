import { PLACES } from './container-plan.ts';
import { SOCKET_DIR_FILES } from './instance-socket-dir.ts';

const { socketDir } = PLACES;

export const SHELL = '/bin/sh';

/** Becomes the command that follows, whose output then goes into the pipes of an exchange and not through the Engine. */
export const SOCKET_DIR_SCRIPT: readonly string[] = [
  SHELL,
  '-c',
  `exec "$@" >${socketDir}/${SOCKET_DIR_FILES.stdout} 2>${socketDir}/${SOCKET_DIR_FILES.stderr} </dev/null`,
  'pilum',
];
