import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import type { InstanceNetwork } from '../contract/instance-network.ts';
import type { Freezer, LaunchedProcess } from '../contract/launched-process.ts';
import type { Program } from '../contract/program.ts';
import type { Launched, LaunchedServer, ProgramHost, ServerProgram } from '../contract/protocol.ts';
import type { RunnableVersion } from '../contract/runtime.ts';
import { BridgedDialer, type BridgeSockets, PORT_IN_SANDBOX } from '../protocols/http/bridged-dialer.ts';
import { DirectDialer, freePort } from '../protocols/http/direct-dialer.ts';
import { bridgedProgram } from '../protocols/http/http-program.ts';
import { baseEnvironment } from '../sandbox/launch-plan.ts';
import type { Launcher } from '../sandbox/launcher.ts';
import type { ProcessPrewarm } from './prewarm/process-prewarm.ts';

/** The time to look whether a port is taken, ms. */
const LOOK_LIMIT_MS = 1000;

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
  /** A hold on the program that was launched last; null without one, and for a program that ends with its call. */
  freezer: Freezer | null = null;
  /** The network of the program that was launched last, where one is relayed; null else. */
  network: InstanceNetwork | null = null;

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
    const { interpreter } = this.#runnable.version.spec;
    const places = launcher.placesFor({ ...this.#runnable, ...(interpreter === undefined ? {} : { interpreter }) });
    const isInterpreter = program.kind === 'node' || program.kind === 'python';
    const prewarmed = isInterpreter ? await this.#takePrewarmed() : null;
    const process = prewarmed ?? (await this.#launch(program));
    this.freezer = process.freezer ?? null;
    this.network = process.network ?? null;
    prewarm?.makeRoom();
    return { process, places, environment: baseEnvironment(places) };
  }

  /** Takes a prewarmed sandbox, and opens its network; null where none fits. */
  async #takePrewarmed(): Promise<LaunchedProcess | null> {
    const { launcher, prewarm } = this.#deps;
    const process = (await prewarm?.take(launcher, this.#runnable)) ?? null;
    try {
      await process?.network?.open(this.#runnable.version.spec.limits.network);
      return process;
    } catch (error) {
      process?.terminate(0);
      throw error;
    }
  }

  async launchServer(server: ServerProgram): Promise<LaunchedServer> {
    const { launcher, prewarm } = this.#deps;
    const isApart = launcher.isSandboxed && this.#runnable.version.spec.limits.network !== 'host';
    const launched = isApart ? await this.#launchBridged(server) : await this.#launchDirect(server);
    this.freezer = launched.process.freezer ?? null;
    this.network = launched.process.network ?? null;
    prewarm?.makeRoom();
    return launched;
  }

  async #launchDirect({ program, port: fixed }: ServerProgram): Promise<LaunchedServer> {
    if (fixed !== undefined) await refuseTaken(fixed);
    const port = fixed ?? (await freePort());
    return { process: await this.#launch(program(port)), dialer: new DirectDialer(port) };
  }

  /** Launches a server that has no network, and a bridge beside it that takes connections from a socket. */
  async #launchBridged({ program, port = PORT_IN_SANDBOX }: ServerProgram): Promise<LaunchedServer> {
    const socket = await this.#deps.sockets.open();
    try {
      const process = await this.#launch(bridgedProgram(program(port), socket.descriptor));
      socket.handedOver();
      if (process.channel === null) throw new Error('a bridge needs a channel');
      return { process, dialer: new BridgedDialer(socket, process.channel, port) };
    } catch (error) {
      await socket.remove();
      throw error;
    }
  }

  async #launch(program: Program): Promise<LaunchedProcess> {
    const { version, codeDirectory, layers, secrets } = this.#runnable;
    const { limits, writable, interpreter } = version.spec;
    const secretFiles = secrets?.files ?? [];
    const wanted = { limits, codeDirectory, layers, writable, interpreter, secretFiles, opens: limits.network };
    return (await this.#deps.launcher.launch(wanted, program, this.#instanceId)).process;
  }
}

/**
 * Refuses a port of this machine that a server has already: without a sandbox one that is fixed is a single server's.
 * @throws InstanceError `INSTANCE_START_FAILED`
 */
async function refuseTaken(port: number): Promise<void> {
  if (!(await new DirectDialer(port).isListening(LOOK_LIMIT_MS))) return;
  throw new InstanceError('INSTANCE_START_FAILED', {
    message: `Port ${port} (http.port) is in use on this machine: without a sandbox one server at a time can have it. Leave http.port out and listen on $PORT.`,
    details: { port },
  });
}
