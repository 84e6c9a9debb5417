import { PLACES } from './container-plan.ts';
import { EXCHANGE_FILES } from './exchange.ts';

const { exchange } = PLACES;

export const SHELL = '/bin/sh';

/** Becomes the command that follows, whose output then goes into the pipes of an exchange and not through the Engine. */
export const EXCHANGE_SCRIPT: readonly string[] = [
  SHELL,
  '-c',
  `exec "$@" >${exchange}/${EXCHANGE_FILES.stdout} 2>${exchange}/${EXCHANGE_FILES.stderr} </dev/null`,
  'pilum',
];
