import { expect, test } from 'vitest';
import { startupEnvironment } from '../../../apps/worker/src/runtimes/protocols/handler/startup-environment.ts';

test.for([
  ['node', 'NODE_OPTIONS'],
  ['node', 'NODE_PATH'],
  ['node', 'NODE_EXTRA_CA_CERTS'],
  ['node', 'NODE_USE_ENV_PROXY'],
  ['node', 'LANG'],
  ['python', 'LC_ALL'],
  ['python', 'PYTHONPATH'],
  ['python', 'PYTHONSTARTUP'],
  ['python', 'PYTHON_GIL'],
  ['python', 'LD_PRELOAD'],
  ['node', 'LD_LIBRARY_PATH'],
] as const)('%s reads %s when it starts, and all others are there then', ([language, name]) => {
  const env = { [name]: 'x', HTTPS_PROXY: 'y' };
  expect(startupEnvironment(language, { ...env, PILUM_CHANNEL: 'z' })).toEqual(env);
});

test.for([
  ['node', 'NODE_ENV'],
  ['node', 'NODE_CONFIG_DIR'],
  ['node', 'TZ'],
  ['node', 'HOME'],
  ['node', 'PATH'],
  ['node', 'PYTHONPATH'],
  ['node', 'UV_THREADPOOL_SIZE'],
  ['python', 'NODE_OPTIONS'],
  ['python', 'PYTHONUNBUFFERED'],
  ['python', 'PYTHON_VERSION'],
  ['python', 'TZ'],
] as const)('%s has time for %s until there is code', ([language, name]) => {
  expect(startupEnvironment(language, { [name]: 'x' })).toBeNull();
});
