import { closeSync } from 'node:fs';
import type { Duplex, Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { execa } from 'execa';
import type { Logger } from 'pino';
import { identify, isRunning, type ProcessIdentity } from '../../ownership/process-identity.ts';
import { Ending, type ExitStatus } from '../contract/ending.ts';
import { exitStatusOf, type Freezer, type LaunchedProcess } from '../contract/launched-process.ts';
import { encodeArguments } from './bubblewrap.ts';
import type { Cgroup } from './cgroup/cgroup.ts';
import { endCgroup } from './cgroup/end.ts';
import type { PipeEnds, Pipes } from './pipes.ts';
import { firstChildOf, signalProcess } from './proc.ts';

/**
 * The script of the first shell, outside the sandbox: the shell waits until its pid is in the cgroup, so that nothing of the
 * instance ever runs outside of it, and becomes bubblewrap, or first what schedules it. Fd 4 is a socket both ways: in come the word to go and
 * then bubblewrap's arguments (fd 5), out goes what bubblewrap says of the sandbox.
 */
const SANDBOX_SCRIPT = 'read -r go <&4 || exit 125\nexec "$@" 5<&4';
/** The same with the filter of system calls, whose file is named first, as fd {@link FILTER_FD}. */
const FILTERED_SCRIPT = 'filter=$1\nshift\nread -r go <&4 || exit 125\nexec "$@" 5<&4 7<"$filter"';
/** The descriptor at which bubblewrap finds the filter of system calls. */
export const FILTER_FD = 7;
/** The descriptor at which bubblewrap finds the first secret that it is to write into a file; the others follow. */
export const FIRST_SECRET_FD = 8;
/**
 * The script without a sandbox: the same wait, and the kernel's promise that the command dies with the worker, where it
 * can.
 */
const PLAIN_SCRIPT = [
  'read -r go <&4 || exit 125',
  'exec 4<&-',
  'if command -v setpriv >/dev/null; then set -- setpriv --pdeathsig KILL -- "$@"; fi',
  'exec "$@"',
].join('\n');

/** The last descriptor that every command is launched with. */
const LAST_OWN_FD = 4;

export interface LaunchPlan {
  /** Tells whether it has a network that is relayed, which it enters by the command {@link LaunchPlan.entering}. */
  readonly isRelayed: boolean;
  /** The prefix that puts a command into its network, and makes it this user; left out where it has none to enter. */
  readonly entering?: readonly string[];
  /** The prefix that puts a command under the scheduling of functions; empty where this machine has no such program. */
  readonly scheduler: readonly string[];
  /** The command to run, the shell with its rlimits included. */
  readonly command: readonly string[];
  /** The sandbox around the command; null to run it without one, in this directory and with this environment. */
  readonly sandbox: {
    readonly path: string;
    readonly args: readonly string[];
    /** The file of the filter of system calls that `args` speak of; null without one. */
    readonly filter: string | null;
    /** Contents of the descriptors from {@link FIRST_SECRET_FD} on, which `args` make files of. */
    readonly secretFiles: readonly Buffer[];
  } | null;
  readonly env: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  /** uid and gid to run as; null for the worker's own. */
  readonly uid: number | null;
  readonly stdin: 'pipe' | 'ignore';
  /** Tells whether there is a socket at fd 3. */
  readonly channel: boolean;
  /** A descriptor of this process that the command has as its fd 6; it stays open here. */
  readonly listener?: number;
  readonly cgroup: Cgroup | null;
  /** Tells whether that cgroup can be frozen. */
  readonly freezes: boolean;
}

/**
 * Starts a command. Where the start fails nothing is left of it.
 * @throws RuntimeError `RUNTIME_UNAVAILABLE` where the machine could not make the process
 */
export async function launch(plan: LaunchPlan, pipes: Pipes, logger: Logger): Promise<LaunchedProcess> {
  const { sandbox, cgroup } = plan;
  const streams = await openStreams(plan.stdin, pipes).catch(async (error: unknown) => {
    await cgroup?.remove();
    throw error;
  });
  const filter = sandbox?.filter ?? null;
  const shell = sandbox === null ? PLAIN_SCRIPT : filter === null ? SANDBOX_SCRIPT : FILTERED_SCRIPT;
  const prefixes = [...(plan.entering ?? []), ...plan.scheduler];
  const before = filter === null ? prefixes : [filter, ...prefixes];
  const wrapper = sandbox === null ? [] : [sandbox.path, '--args', '5', '--info-fd', '4', '--'];
  const standard = [streams.stdin?.theirs ?? 'ignore', streams.stdout.theirs, streams.stderr.theirs];
  // Fd 5 is the script's own.
  const listener = plan.listener === undefined ? [] : ['ignore', plan.listener];
  const secretFiles = sandbox?.secretFiles ?? [];
  // Fd 6 is nobody's then, and fd 7 the script's own as well.
  const toSecrets = [...listener, 'ignore', 'ignore', 'ignore'].slice(0, FIRST_SECRET_FD - LAST_OWN_FD - 1);
  const more = secretFiles.length === 0 ? listener : [...toSecrets, ...secretFiles.map(() => 'pipe')];
  const subprocess = execa('/bin/sh', ['-c', shell, 'pilum', ...before, ...wrapper, ...plan.command], {
    // Streams are read here as they come; execa would keep all of it.
    buffer: false,
    reject: false,
    // A process group of its own, so that a signal to the worker's terminal is not one to its instances.
    detached: true,
    extendEnv: false,
    env: sandbox === null ? plan.env : {},
    cwd: sandbox === null ? plan.workingDirectory : '/',
    // Execa takes descriptors, as `spawn` does; its types do not say so.
    stdio: [...standard, plan.channel ? 'pipe' : 'ignore', 'pipe', ...more] as unknown as [
      'ignore',
      'ignore',
      'ignore',
    ],
    // Only the worker's own user may enter a network, and what enters it becomes the other one.
    ...(plan.uid === null || plan.entering !== undefined ? {} : { uid: plan.uid, gid: plan.uid }),
  });
  const { pid } = subprocess;
  const [stdin, stdout, stderr] = handOver(streams);
  if (pid === undefined) {
    for (const stream of [stdin, stdout, stderr]) stream?.destroy();
    await cgroup?.remove();
    const { originalMessage } = await subprocess;
    throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `The process could not be made: ${originalMessage}` });
  }
  const exited = Promise.withResolvers<ExitStatus>();
  subprocess.once('exit', (exitCode, signal) =>
    exited.resolve(sandbox === null ? { exitCode, signal } : exitStatusOf(exitCode, signal)),
  );
  const [, , , channel, control] = subprocess.stdio as unknown as [unknown, unknown, unknown, Duplex | null, Duplex];
  for (const stream of [stdin, stdout, stderr, channel, control]) {
    stream?.on('error', ignoreBrokenPipe);
  }

  const init = sandbox === null ? Promise.resolve(null) : readInit(control);
  const ending = new Ending({
    exited: exited.promise,
    async signalCommand() {
      const initIdentity = await init;
      if (sandbox === null) signalProcess(pid, 'SIGTERM');
      // Not to bubblewrap, whose death is everyone's at once: to the command, which is its init's first child.
      else if (initIdentity !== null) {
        const command = await firstChildOf(initIdentity.pid);
        if (command !== null) signalProcess(command, 'SIGTERM');
      }
    },
    killAll() {
      // The group without a sandbox; with one, bubblewrap's monitor, and with it the init of the pid namespace, and
      // with that, by the kernel's hand, all that is in it.
      if (!signalProcess(-pid, 'SIGKILL')) signalProcess(pid, 'SIGKILL');
    },
    async sweep() {
      if (sandbox === null) signalProcess(-pid, 'SIGKILL');
      const initIdentity = await init;
      if (initIdentity !== null) await gone(initIdentity);
      if (cgroup === null) return 0;
      const oomKills = await cgroup.oomKills();
      await endCgroup(cgroup);
      return oomKills;
    },
    logger,
  });

  let isEnding = false;
  const freezer: Freezer = {
    freeze() {
      // What is told to end must be able to.
      if (!isEnding) cgroup?.setFrozen(true);
      return !isEnding;
    },
    thaw() {
      try {
        cgroup?.setFrozen(false);
      } catch (error) {
        // It has ended, and its cgroup with it: whoever waits for it hears of that.
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'ENOENT' && code !== 'ENODEV') throw error;
      }
    },
  };
  const terminate = (graceMs: number) => {
    isEnding = true;
    try {
      freezer.thaw();
    } catch (error) {
      logEvent(logger, 'ending-not-woken', { err: error });
    }
    ending.begin(graceMs);
  };

  try {
    await cgroup?.add(pid);
    control.write('go\n');
    control.end(sandbox === null ? undefined : encodeArguments(sandbox.args));
    for (const [i, content] of secretFiles.entries()) {
      const pipe = (subprocess.stdio as unknown as (Duplex | null)[])[FIRST_SECRET_FD + i];
      pipe?.on('error', ignoreBrokenPipe);
      pipe?.end(content);
    }
  } catch (error) {
    ending.begin(0);
    await ending.ended;
    throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The cgroup did not take the process.', cause: error });
  }
  return {
    stdin,
    stdout,
    stderr,
    channel: plan.channel ? channel : null,
    ...(plan.freezes ? { freezer } : {}),
    ended: ending.ended,
    terminate,
  };
}

interface Streams {
  readonly stdin: PipeEnds | null;
  readonly stdout: PipeEnds;
  readonly stderr: PipeEnds;
}

async function openStreams(stdin: 'pipe' | 'ignore', pipes: Pipes): Promise<Streams> {
  const opened: PipeEnds[] = [];
  const keep = (ends: PipeEnds) => {
    opened.push(ends);
    return ends;
  };
  try {
    return {
      stdout: keep(await pipes.fromProcess()),
      stderr: keep(await pipes.fromProcess()),
      stdin: stdin === 'pipe' ? keep(await pipes.toProcess()) : null,
    };
  } catch (error) {
    for (const { stream, theirs } of opened) {
      stream.destroy();
      closeSync(theirs);
    }
    throw error;
  }
}

/** The process has its ends, or never will: here they are closed, so that a pipe ends when the process has ended. */
function handOver({ stdin, stdout, stderr }: Streams): [Writable | null, Readable, Readable] {
  for (const ends of [stdin, stdout, stderr]) if (ends !== null) closeSync(ends.theirs);
  return [stdin?.stream ?? null, stdout.stream, stderr.stream];
}

/** Reads what bubblewrap writes to its info fd: `{"child-pid": …}`. null where it ended before that. */
async function readInit(control: Duplex): Promise<ProcessIdentity | null> {
  let text = '';
  try {
    for await (const chunk of control) text += String(chunk);
  } catch {
    // Ended too early; what there is says nothing.
  }
  const [, childPid] = /"child-pid": (\d+)/.exec(text) ?? [];
  return childPid === undefined ? null : await identify(Number(childPid));
}

/** The init of a pid namespace is gone, or a zombie, only after everything in the namespace is. */
async function gone(init: ProcessIdentity): Promise<void> {
  for (let waitMs = 1; await isRunning(init); waitMs = Math.min(waitMs * 2, 20)) await sleep(waitMs);
}

/** The instance ended before it read all: its end says more. */
function ignoreBrokenPipe(): void {}
