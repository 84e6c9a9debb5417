import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Scope } from './scope.ts';

/** From SIGTERM to SIGKILL, ms. */
const STOP_MS = 20_000;

/** A process of a measurement. */
export interface BenchProcess {
  readonly pid: number;
  /** For messages. */
  readonly child: ChildProcess;
  /** Resolves with exit code or signal when it has ended. */
  readonly ended: Promise<number | string>;
  /** From now on it is no failure of the measurement when it ends. */
  mayEnd(): void;
}

/**
 * Starts a module as a process on this Node, waits for its `ready` and has it stopped with the scope. Terminals do not
 * signal it, so that Ctrl-C reaches the bench alone and all is stopped in order; where the bench itself is killed it hears
 * so by the end of its channel.
 * @throws Error where it ends before it is ready
 */
export async function startProcess(
  scope: Scope,
  { name, module, env }: { name: string; module: URL; env: Readonly<Record<string, string>> },
): Promise<BenchProcess> {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('PILUM_')));
  const child = fork(module, {
    env: { ...inherited, ...env },
    execArgv: [],
    detached: true,
    // All that parts say goes where progress goes: standard output is the table's.
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  let isExpected = false;
  const ready = once(child, 'message');
  const ended = once(child, 'exit').then(([code, signal]: (number | string)[]) => code ?? signal ?? 'unknown');
  await scope.add('process', async () => {
    isExpected = true;
    child.kill('SIGTERM');
    const limit = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(limit);
  });
  const early = await Promise.race([ready.then(() => null), ended]);
  if (early !== null) throw new Error(`${name} ended with ${early} before it was ready`);
  void ended.then((how) => {
    if (!isExpected) scope.fail(new Error(`${name} ended with ${how} in the middle of it`));
  });
  return {
    pid: child.pid ?? 0,
    child,
    ended,
    mayEnd: () => {
      isExpected = true;
    },
  };
}
