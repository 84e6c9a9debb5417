import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { engineAway, isAway, saidBy, statusOf } from './engine.ts';

/** The exit codes by which shells say that there is no such command, or that it cannot be run. */
const NO_SUCH_COMMAND = 127;
const NOT_EXECUTABLE = 126;

/** A command that the container does not have, or cannot run, by the exit code that a shell would have for it; else null. */
export function commandFault(error: unknown): { exitCode: number; said: string } | null {
  if (statusOf(error) === null) return null;
  const said = saidBy(error);
  if (/executable file not found|no such file or directory/i.test(said)) {
    return { exitCode: NO_SUCH_COMMAND, said: `not found: ${said}` };
  }
  return /permission denied|exec format error|is a directory/i.test(said) ? { exitCode: NOT_EXECUTABLE, said } : null;
}

/** Returns what the Engine's refusal to make or start a container means to whoever wanted an instance. */
export function startFailure(error: unknown, host: string): unknown {
  if (isAway(error)) return engineAway(error, host);
  if (statusOf(error) === null) return error;
  const said = saidBy(error);
  const isUnseen = /bind source path does not exist/i.test(said);
  return new InstanceError('INSTANCE_START_FAILED', {
    message: `The Docker Engine could not start the container: ${said}.`,
    ...(isUnseen ? { hint: 'The Engine must see PILUM_DATA of the worker under the same path.' } : {}),
    cause: error,
  });
}
