import { type Duplex, PassThrough, type Readable, type Writable } from 'node:stream';
import { setImmediate } from 'node:timers';
import { abortable } from '@pilum/core/async/abortable.ts';
import type { Logger } from 'pino';
import { Ending } from '../contract/ending.ts';
import { SHELL_NAME } from '../contract/instance-end.ts';
import type { LaunchedProcess } from '../contract/launched-process.ts';

import { Container, type ContainerDeps } from './container.ts';
import type { ContainerPlan } from './container-plan.ts';
import { demultiplex } from './demultiplexer.ts';
import type { InstanceSocketDir } from './instance-socket-dir.ts';
import { commandFault } from './start-failure.ts';

/** A command in a container, as what runs instances knows it, and the container. */
export interface Launched {
  readonly process: LaunchedProcess;
  readonly container: Container;
}

interface Streams {
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly channel: Duplex | null;
}

export interface LaunchDeps extends ContainerDeps {
  /** Takes work that is still to be done after an instance has ended, and that nobody waits for. */
  readonly inBackground: (work: Promise<void>) => void;
}

/**
 * Runs a command whose streams go through the Engine. One that the container does not have ends as a shell would say it.
 * @throws whatever the client throws; nothing is left then
 */
export async function launchAttached(deps: LaunchDeps, plan: ContainerPlan, signal: AbortSignal): Promise<Launched> {
  const container = await Container.create(deps, plan, signal);
  try {
    const stream = await abortable(container.attach(), signal);
    stream.on('error', ignoreBrokenPipe);
    const { stdout, stderr } = demultiplex(stream);
    let streams: Streams = { stdin: stream, stdout, stderr, channel: null };
    try {
      await container.start(signal);
    } catch (error) {
      const fault = commandFault(error);
      if (fault === null) throw error;
      stream.destroy();
      streams = {
        stdin: null,
        stdout: said(''),
        stderr: said(`${SHELL_NAME}: ${fault.said.replace(/\s+/g, ' ')}`),
        channel: null,
      };
      container.endedAtStart({ exitCode: fault.exitCode, signal: null });
    }
    return { process: processOf(deps, container, streams, () => Promise.resolve()), container };
  } catch (error) {
    deps.inBackground(container.remove());
    throw error;
  }
}

/**
 * Runs a command that is reached through an exchange, and waits until it has connected. Where the container ends before
 * that, or the signal is aborted, its channel is a dead one.
 * @throws whatever the client throws; nothing is left then
 */
export async function launchWithSocketDir(
  deps: LaunchDeps,
  plan: ContainerPlan,
  socketDir: InstanceSocketDir,
  signal: AbortSignal,
): Promise<Launched> {
  const container = await Container.create(deps, plan, signal);
  try {
    const { stdout, stderr } = await socketDir.pipes;
    await container.start(signal);
    return await connected(deps, container, socketDir, { stdout, stderr }, signal);
  } catch (error) {
    deps.inBackground(container.remove());
    throw error;
  }
}

/**
 * Runs a command that prints into the pipes of an exchange and is reached in another way.
 * @param needs a path that its image must have
 * @returns null where it does not; nothing is left then
 * @throws whatever the client throws; nothing is left then
 */
export async function launchPiped(
  deps: LaunchDeps,
  plan: ContainerPlan,
  socketDir: InstanceSocketDir,
  needs: string | null,
  signal: AbortSignal,
): Promise<Launched | null> {
  const container = await Container.create(deps, plan, signal);
  try {
    if (needs !== null && !(await abortable(container.has(needs), signal))) {
      await container.remove(); // another one is to have its name
      return null;
    }
    const { stdout, stderr } = await socketDir.pipes;
    await container.start(signal);
    return launchedOver(deps, container, socketDir, { stdout, stderr }, null);
  } catch (error) {
    deps.inBackground(container.remove());
    throw error;
  }
}

async function connected(
  deps: LaunchDeps,
  container: Container,
  socketDir: InstanceSocketDir,
  output: { readonly stdout: Readable; readonly stderr: Readable },
  signal: AbortSignal,
): Promise<Launched> {
  const channel = await firstOf(socketDir.connected, container.exited, signal);
  // Its end is the sign of the instance's own, also where the Engine has none to give.
  channel.once('close', () => container.expectEnd());
  return launchedOver(deps, container, socketDir, output, channel);
}

/** A command that prints into the pipes of an exchange, which goes when it has ended. */
function launchedOver(
  deps: LaunchDeps,
  container: Container,
  socketDir: InstanceSocketDir,
  output: Pick<Streams, 'stdout' | 'stderr'>,
  channel: Duplex | null,
): Launched {
  const streams = { stdin: null, ...output, channel };
  const process = processOf(
    deps,
    container,
    streams,
    () => socketDir.remove(),
    () => socketDir.silence(),
  );
  return { process, container };
}

async function firstOf(connected: Promise<Duplex>, exited: Promise<unknown>, signal: AbortSignal): Promise<Duplex> {
  const aborted = Promise.withResolvers<null>();
  const onAbort = () => aborted.resolve(null);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    const channel = await Promise.race([connected, exited.then(() => null), aborted.promise]);
    if (channel !== null) return channel;
    const dead = new PassThrough();
    setImmediate(() => dead.destroy());
    return dead;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function processOf(
  deps: LaunchDeps & { readonly logger: Logger },
  container: Container,
  streams: Streams,
  clear: () => Promise<void>,
  silence: () => Promise<void> = () => Promise.resolve(),
): LaunchedProcess {
  const ending = new Ending({
    exited: container.exited,
    signalCommand: () => container.signal('SIGTERM'),
    killAll: () => void container.signal('SIGKILL'),
    async sweep() {
      const { exitCode, isLost = false } = await container.exited;
      // One that ended well needs no second look, and of one that was lost the Engine has nothing to say.
      const oomKills = exitCode !== 0 && !isLost && (await container.ranOutOfMemory()) ? 1 : 0;
      await silence();
      // Nothing of it runs any more: whoever waits for its end need not wait for this.
      deps.inBackground(Promise.all([container.remove(), clear()]).then(() => undefined));
      return oomKills;
    },
    logger: deps.logger,
  });
  return { ...streams, ended: ending.ended, terminate: (graceMs) => ending.begin(graceMs) };
}

function said(text: string): Readable {
  const stream = new PassThrough();
  stream.end(text);
  return stream;
}

/** The command ended before it read all: its end says more. */
function ignoreBrokenPipe(): void {}
