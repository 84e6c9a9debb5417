import { type Duplex, PassThrough, type Readable, type Writable } from 'node:stream';
import { setImmediate } from 'node:timers';
import type { Logger } from 'pino';
import { Ending } from '../process/ending.ts';
import type { LaunchedProcess } from '../process/launch.ts';
import { Container, type ContainerParts } from './container.ts';
import type { ContainerPlan } from './container-plan.ts';
import { demultiplex } from './demultiplexer.ts';
import type { Exchange } from './exchange.ts';
import { commandFault } from './start-failure.ts';
import { untilAborted } from './until-aborted.ts';

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

export interface LaunchParts extends ContainerParts {
  /** Is told of what still has to be done after an instance has ended, and that nobody waits for. */
  readonly inBackground: (work: Promise<void>) => void;
}

/**
 * Runs a command whose streams go through the Engine. One that the container does not have ends as a shell would say it.
 * @throws whatever the client throws; nothing is left then
 */
export async function launchAttached(parts: LaunchParts, plan: ContainerPlan, signal: AbortSignal): Promise<Launched> {
  const container = await Container.create(parts, plan, signal);
  try {
    const stream = await untilAborted(container.attach(), signal);
    stream.on('error', ignoreBrokenPipe);
    const { stdout, stderr } = demultiplex(stream);
    let streams: Streams = { stdin: stream, stdout, stderr, channel: null };
    try {
      await container.start(signal);
    } catch (error) {
      const fault = commandFault(error);
      if (fault === null) throw error;
      stream.destroy();
      streams = { stdin: null, stdout: said(''), stderr: said(fault.said), channel: null };
      container.endedAtStart({ exitCode: fault.exitCode, signal: null });
    }
    return { process: processOf(parts, container, streams, () => Promise.resolve()), container };
  } catch (error) {
    parts.inBackground(container.remove());
    throw error;
  }
}

/**
 * Runs a command that is reached through an exchange, and waits until it has connected. Where it ends before that, or the
 * signal is aborted, its channel is a dead one.
 * @throws whatever the client throws; nothing is left then
 */
export async function launchExchanging(
  parts: LaunchParts,
  plan: ContainerPlan,
  exchange: Exchange,
  signal: AbortSignal,
): Promise<Launched> {
  const container = await Container.create(parts, plan, signal);
  try {
    const { stdout, stderr } = await exchange.pipes;
    await container.start(signal);
    return await connected(parts, container, exchange, { stdout, stderr }, signal);
  } catch (error) {
    parts.inBackground(container.remove());
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
  parts: LaunchParts,
  plan: ContainerPlan,
  exchange: Exchange,
  needs: string | null,
  signal: AbortSignal,
): Promise<Launched | null> {
  const container = await Container.create(parts, plan, signal);
  try {
    if (needs !== null && !(await untilAborted(container.has(needs), signal))) {
      await container.remove(); // another one is to have its name
      return null;
    }
    const { stdout, stderr } = await exchange.pipes;
    await container.start(signal);
    return launchedOver(parts, container, exchange, { stdout, stderr }, null);
  } catch (error) {
    parts.inBackground(container.remove());
    throw error;
  }
}

async function connected(
  parts: LaunchParts,
  container: Container,
  exchange: Exchange,
  output: { readonly stdout: Readable; readonly stderr: Readable },
  signal: AbortSignal,
): Promise<Launched> {
  const channel = await firstOf(exchange.connected, container.exited, signal);
  // Its end is the sign of the instance's own, also where the Engine has none to give.
  channel.once('close', () => container.expectEnd());
  return launchedOver(parts, container, exchange, output, channel);
}

/** A command that prints into the pipes of an exchange, which goes when it has ended. */
function launchedOver(
  parts: LaunchParts,
  container: Container,
  exchange: Exchange,
  output: Pick<Streams, 'stdout' | 'stderr'>,
  channel: Duplex | null,
): Launched {
  const streams = { stdin: null, ...output, channel };
  const process = processOf(
    parts,
    container,
    streams,
    () => exchange.remove(),
    () => exchange.silence(),
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
  parts: LaunchParts & { readonly logger: Logger },
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
      parts.inBackground(Promise.all([container.remove(), clear()]).then(() => undefined));
      return oomKills;
    },
    logger: parts.logger,
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
