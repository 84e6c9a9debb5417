import type { Protocol as ProtocolName } from '@pilum/core/spec/protocols.ts';
import type { Dialer } from './dialer.ts';
import type { LaunchedProcess } from './launched-process.ts';
import type { Places, Program } from './program.ts';
import type { RunnableVersion, RuntimeInstance } from './runtime.ts';

/**
 * The way in which the worker speaks to instances. A protocol is written once and serves every runtime that can run a
 * program: it says what is to run, and makes an instance of what a runtime has launched.
 */
export interface Protocol {
  readonly name: ProtocolName;

  /**
   * Says why a version cannot be started, whatever the machine; null where it can.
   * @param image whether the runtime runs images, which may bring a command of their own
   */
  problemOf(runnable: RunnableVersion, image: boolean): string | null;

  /**
   * Starts an instance and resolves when it is ready for a task.
   * @throws InstanceError `INSTANCE_START_FAILED`; whatever the host throws; nothing is left then
   */
  start(request: ProtocolStart): Promise<RuntimeInstance>;
}

/** The request for one start that a protocol gets. */
export interface ProtocolStart {
  readonly runnable: RunnableVersion;
  readonly instanceId: string;
  readonly host: ProgramHost;
  /** Aborts the start; what was begun is undone. */
  readonly signal: AbortSignal;
  /** Aborted when the runtime is closed: for what an instance launches later. */
  readonly closing: AbortSignal;
}

/** The services of a runtime to a protocol: it launches programs for one instance. The rest is the protocol's. */
export interface ProgramHost {
  /** Makes sure that a later launch finds what it needs, such as the image. @throws what `launch` throws */
  prepare(signal: AbortSignal): Promise<void>;

  /**
   * Launches a program.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`, InstanceError `INSTANCE_START_FAILED`; nothing is left then
   */
  launch(program: Program, signal: AbortSignal): Promise<Launched>;

  /**
   * Launches a server and a way to its port.
   * @throws what `launch` throws
   */
  launchServer(server: ServerProgram, signal: AbortSignal): Promise<LaunchedServer>;
}

/** A server, said before it is known where it will run. */
export interface ServerProgram {
  /** Makes the program of a server that is to listen on this port. */
  readonly program: (port: number) => Program;
  /** The one port that it can listen on; undefined where that is the runtime's to choose. */
  readonly port: number | undefined;
}

/** A program that runs, and what it finds around itself. */
export interface Launched {
  readonly process: LaunchedProcess;
  readonly places: Places;
  /** Variables that it would have without any of the version's own. */
  readonly environment: Readonly<Record<string, string>>;
}

/** A server that runs, and the way to it. The server may not listen yet. */
export interface LaunchedServer {
  readonly process: LaunchedProcess;
  readonly dialer: Dialer;
}
