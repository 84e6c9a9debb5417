import type { LaunchedProcess } from '../contract/launched-process.ts';
import type { Program } from '../contract/program.ts';
import type { Launched, LaunchedServer, ProgramHost } from '../contract/protocol.ts';
import type { RunnableVersion } from '../contract/runtime.ts';
import { BridgedDialer, type BridgeSockets, PORT_IN_SANDBOX } from '../protocols/http/bridged-dialer.ts';
import { DirectDialer, freePort } from '../protocols/http/direct-dialer.ts';
import { bridgedProgram } from '../protocols/http/http-program.ts';
import { baseEnvironment } from '../sandbox/launch-plan.ts';
import type { Launcher } from '../sandbox/launcher.ts';
import type { ProcessPrewarm } from './prewarm/process-prewarm.ts';

export interface ProcessHostDeps {
  readonly launcher: Launcher;
  readonly prewarm: ProcessPrewarm | null;
  readonly sockets: BridgeSockets;
}

/** Launches the programs of one instance as processes of this machine, each in its sandbox where there is one. */
export class ProcessHost implements ProgramHost {
  readonly #deps: ProcessHostDeps;
  readonly #runnable: RunnableVersion;
  readonly #instanceId: string;

  constructor(deps: ProcessHostDeps, runnable: RunnableVersion, instanceId: string) {
    this.#deps = deps;
    this.#runnable = runnable;
    this.#instanceId = instanceId;
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  async launch(program: Program): Promise<Launched> {
    const { launcher, prewarm } = this.#deps;
    const places = launcher.placesFor(this.#runnable);
    const isInterpreter = program.kind === 'node' || program.kind === 'python';
    const prewarmed = isInterpreter ? await prewarm?.take(launcher, this.#runnable) : null;
    const process = prewarmed ?? (await this.#launch(program));
    prewarm?.makeRoom();
    return { process, places, environment: baseEnvironment(places) };
  }

  async launchServer(program: (port: number) => Program): Promise<LaunchedServer> {
    const { launcher, prewarm } = this.#deps;
    const isApart = launcher.isSandboxed && this.#runnable.version.spec.limits.network === 'none';
    const launched = isApart ? await this.#launchBridged(program) : await this.#launchDirect(program);
    prewarm?.makeRoom();
    return launched;
  }

  async #launchDirect(program: (port: number) => Program): Promise<LaunchedServer> {
    const port = await freePort();
    return { process: await this.#launch(program(port)), dialer: new DirectDialer(port) };
  }

  /** Launches a server that has no network, and a bridge beside it that takes connections from a socket. */
  async #launchBridged(program: (port: number) => Program): Promise<LaunchedServer> {
    const socket = await this.#deps.sockets.open();
    try {
      const process = await this.#launch(bridgedProgram(program(PORT_IN_SANDBOX), socket.descriptor));
      socket.handedOver();
      if (process.channel === null) throw new Error('a bridge needs a channel');
      return { process, dialer: new BridgedDialer(socket, process.channel) };
    } catch (error) {
      await socket.remove();
      throw error;
    }
  }

  async #launch(program: Program): Promise<LaunchedProcess> {
    const { version, codeDirectory, layers } = this.#runnable;
    const wanted = { limits: version.spec.limits, codeDirectory, layers };
    return (await this.#deps.launcher.launch(wanted, program, this.#instanceId)).process;
  }
}
