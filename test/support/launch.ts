import { type ChildProcess, type ForkOptions, fork, type SpawnOptions, spawn } from 'node:child_process';

/** What standard input, output and error may be: never those of the runner, which would wait for whoever holds them. */
type Stdio = ('ignore' | 'pipe' | 'ipc')[] | 'ignore' | 'pipe';

type Options<T> = Omit<T, 'stdio' | 'detached'> & { readonly stdio?: Stdio };

/** What was launched and has not ended. */
const running = new Set<ChildProcess>();

/** Ends all that was launched and still runs. */
export function endLaunched(): void {
  for (const child of running) endGroup(child);
}

process.on('exit', endLaunched);

/**
 * Starts a program for a test, in a process group of its own. It is registered before anything is awaited: it ends with
 * this process at the latest, and where this process is killed the room's guardian ends it.
 */
export function launch(command: string, args: readonly string[], options: Options<SpawnOptions> = {}): ChildProcess {
  return registered(spawn(command, args, { stdio: 'ignore', ...withRoom(options), detached: true }));
}

/** Starts a module of Node for a test in the same way, with a channel for messages. */
export function launchModule(
  module: string,
  args: readonly string[],
  options: Options<ForkOptions> = {},
): ChildProcess {
  const stdio: Stdio = ['ignore', 'ignore', 'ignore', 'ipc'];
  return registered(fork(module, args, { stdio, execArgv: [], ...withRoom(options), detached: true }));
}

/** Ends a program that was launched, and what has stayed in its group. */
export function endGroup({ pid }: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // All of it has ended.
  }
}

/** The path of the room is what the guardian knows a process by, so that no environment is without it. */
function withRoom<T extends { env?: NodeJS.ProcessEnv }>(options: T): T {
  const { TMPDIR } = process.env;
  return options.env === undefined || TMPDIR === undefined ? options : { ...options, env: { TMPDIR, ...options.env } };
}

function registered(child: ChildProcess): ChildProcess {
  running.add(child);
  const forget = () => running.delete(child);
  child.once('exit', forget);
  child.once('error', forget);
  return child;
}
