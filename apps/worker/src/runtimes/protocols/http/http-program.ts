import { join } from 'node:path';
import type { Program } from '../../contract/program.ts';
import type { RunnableVersion } from '../../contract/runtime.ts';
import { variablesOf } from '../../contract/task-environment.ts';

/** Small, and soon there: it moves bytes, and keeps none. */
export const BRIDGE_FLAGS = ['--max-old-space-size=16', '--max-semi-space-size=1', '--v8-pool-size=0', '--no-warnings'];

/**
 * Starts the bridge beside the command, which is what is told to stop and what the instance ends with. Neither has anything of
 * the other: the bridge no environment that a function has made, the command no descriptors of the bridge.
 */
const BRIDGE_SCRIPT = [
  'node=$1 bridge=$2',
  'shift 2',
  `/usr/bin/env -i "$node" ${BRIDGE_FLAGS.join(' ')} "$bridge" "$PORT" >/dev/null 2>&1 &`,
  'exec 3>&- 6>&-',
  'exec "$@"',
].join('\n');

/**
 * A server: what it finds in its environment is the contract of containers on Cloud Run and Knative, so that what runs there
 * runs here. https://cloud.google.com/run/docs/container-contract, section Environment variables
 */
export function serverProgram(runnable: RunnableVersion, port: number): Program {
  const { artifactId, version, spec } = runnable.version;
  return {
    kind: 'command',
    env: {
      K_SERVICE: artifactId,
      K_CONFIGURATION: artifactId,
      K_REVISION: `${artifactId}-${String(version).padStart(5, '0')}`,
      ...variablesOf(runnable),
      PORT: String(port),
    },
    command: () => spec.command ?? null,
    stdin: 'ignore',
    channel: false,
  };
}

/**
 * The same with a bridge beside it.
 * @param listener descriptor of the socket that the bridge takes connections from
 */
export function bridgedProgram(program: Program, listener: number): Program {
  return {
    ...program,
    kind: 'bridged',
    command: (places) => [
      ...['/bin/sh', '-c', BRIDGE_SCRIPT, 'pilum'],
      ...[places.node, join(places.bootstrapDirectory, 'bridge.mjs')],
      ...(program.command(places) ?? []),
    ],
    channel: true,
    listener,
  };
}
