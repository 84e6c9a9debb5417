import { constants } from 'node:os';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { ExitStatus } from './ending.ts';
import type { InstanceNetwork } from './instance-network.ts';

/** A hold on everything of an instance: it stops where it stands, and goes on there. */
export interface Freezer {
  /**
   * Stops it.
   * @returns false where it cannot be stopped now, and goes on
   * @throws Error for the same
   */
  freeze(): boolean | Promise<boolean>;
  /**
   * Lets it go on.
   * @throws Error where it stands still
   */
  thaw(): void | Promise<void>;
}

/**
 * A command that runs, in its sandbox, with everything that it will start. Its standard streams are pipes, since programs open
 * `/dev/stdin` and `/dev/stdout`, which no socket allows.
 */
export interface LaunchedProcess {
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly channel: Duplex | null;
  /** Left out where the machine cannot hold it. */
  readonly freezer?: Freezer;
  /** The network that is relayed for it; left out where it has none, or the machine's. */
  readonly network?: InstanceNetwork;
  /** Resolves once, when it and all its descendants are gone. */
  readonly ended: Promise<ExitStatus>;
  /** Thaws it; SIGTERM to the command, SIGKILL to everything after the grace. May be called again: the shorter grace counts. */
  terminate(graceMs: number): void;
}

/** bubblewrap, and any other init, says of a command that died of signal n that it exited with 128 + n, as shells do. */
export function exitStatusOf(exitCode: number | null, signal: string | null = null): ExitStatus {
  const number = (exitCode ?? 0) - 128;
  const name = number > 0 ? signalName(number) : null;
  return name === null ? { exitCode, signal } : { exitCode: null, signal: name };
}

function signalName(number: number): string | null {
  return Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? null;
}
