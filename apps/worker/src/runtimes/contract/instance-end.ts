import { InstanceError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import type { ExitStatus } from './ending.ts';
import type { EndReason, InstanceEnd } from './runtime.ts';

/** The messages that V8 and Python print when they give up for lack of memory. */
const OUT_OF_MEMORY_OUTPUT = /heap out of memory|allocation failed|Cannot allocate memory|\bMemoryError\b/i;
/** The signals by which interpreters that give up end themselves. */
const GIVE_UP_SIGNALS = new Set(['SIGABRT', 'SIGTRAP', 'SIGILL', 'SIGSEGV']);

/** Reads the meaning of an exit status. */
export function instanceEnd(status: ExitStatus, stopped: boolean, lastOutput: string): InstanceEnd {
  return {
    reason: reasonOf(status, stopped, lastOutput),
    exitCode: status.exitCode,
    signal: status.signal,
    lastOutput,
  };
}

function reasonOf(status: ExitStatus, stopped: boolean, lastOutput: string): EndReason {
  if (stopped || status.isLost === true) return 'stopped';
  if ((status.oomKills ?? 0) > 0) return 'out-of-memory';
  const gaveUp = status.signal !== null && GIVE_UP_SIGNALS.has(status.signal);
  return gaveUp && OUT_OF_MEMORY_OUTPUT.test(lastOutput) ? 'out-of-memory' : 'exited';
}

/** `exit code 3`, `signal SIGKILL` */
export function describeEnd(end: { exitCode: number | null; signal: string | null }): string {
  return end.signal === null ? `exit code ${end.exitCode ?? 'unknown'}` : `signal ${end.signal}`;
}

/**
 * Signals of a process to itself, for what it has done: instances have no terminal from which one would come. Any other one may have
 * come from outside.
 */
const OWN_SIGNALS = new Set([
  ...GIVE_UP_SIGNALS,
  'SIGBUS',
  'SIGFPE',
  'SIGSYS',
  'SIGPIPE',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGALRM',
  'SIGVTALRM',
  'SIGPROF',
  'SIGINT',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGIO',
  'SIGPOLL',
  'SIGSTKFLT',
]);

/**
 * The failure of a function that has ended its own process under its task, by an exit or a crash; null where something else
 * has ended it. A function does again what it has done: that is an attempt that failed, and no loss to recover from.
 */
export function failureOfEnd(end: InstanceEnd): TaskError | null {
  const { reason, exitCode, signal, lastOutput: output } = end;
  if (reason !== 'exited' || (exitCode === null && !OWN_SIGNALS.has(signal ?? ''))) return null;
  return new TaskError('FUNCTION_FAILED', {
    message: `The function ended its own process (${describeEnd(end)}) before it had answered.`,
    details: { exitCode, signal, output },
  });
}

/** The error of a task whose instance ended under it. */
export function errorOfEnd(end: InstanceEnd): InstanceError {
  const details = { exitCode: end.exitCode, signal: end.signal, output: end.lastOutput };
  if (end.reason === 'out-of-memory') return new InstanceError('OUT_OF_MEMORY', { details });
  const message =
    end.reason === 'stopped'
      ? 'The instance was stopped while it ran the task.'
      : `The instance ended while it ran the task (${describeEnd(end)}).`;
  return new InstanceError('INSTANCE_LOST', { message, details });
}

/** The exit codes by which a shell says that there is no such command, or that it cannot be run. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
/** The name that our shells have: each line that one of them prints begins with it. */
export const SHELL_NAME = 'pilum';
/** The beginnings of lines that our shells print, and that the init of a container prints. */
const OURS = /^(?:pilum: |\[(?:FATAL|WARN) +tini \(\d+\)\])/;

/**
 * Says why a command was not started; null where it was. A command may well end with the same codes, of something that it
 * has called in its turn: only where nothing but our own shell has spoken was it never begun.
 */
export function commandFault({ exitCode, lastOutput }: InstanceEnd, command: string | undefined): string | null {
  if (exitCode !== NOT_FOUND && exitCode !== NOT_EXECUTABLE) return null;
  const lines = lastOutput.split('\n').filter((line) => line !== '');
  if (lines.length === 0 || !lines.every((line) => OURS.test(line))) return null;
  return exitCode === NOT_FOUND ? `There is no command ${command} in the sandbox.` : `${command} cannot be executed.`;
}
