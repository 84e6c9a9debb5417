import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { LRUCache } from 'lru-cache';
import type { Dialer } from '../../contract/dialer.ts';
import { BridgedDialer, PORT_IN_SANDBOX } from '../../protocols/http/bridged-dialer.ts';
import { DirectDialer, freePort } from '../../protocols/http/direct-dialer.ts';
import { type ContainerPlan, PLACES } from '../container-plan.ts';
import { saidBy } from '../engine.ts';
import type { ImageFacts } from '../images/images.ts';
import type { InstanceSocketDir } from '../instance-socket-dir.ts';
import { type LaunchDeps, type Launched, launchAttached, launchPiped } from '../launch.ts';
import { SHELL, SOCKET_DIR_SCRIPT } from '../socket-dir-script.ts';
import { ContainerBridge } from './container-bridge.ts';
import { type Interpreter, stageInterpreter } from './interpreter.ts';

/** Images of which it is remembered whether they have a shell. */
const MAX_KNOWN = 1000;

export interface ServersDeps {
  readonly stagingDirectory: string;
  readonly stagedBootstraps: () => Promise<string>;
  readonly makeSocketDir: () => Promise<InstanceSocketDir>;
  readonly seenByEngine: (directory: string) => string;
  readonly launchDeps: () => LaunchDeps;
}

/** Starts servers in containers, and the ways to them. */
export class Servers {
  readonly #deps: ServersDeps;
  /** The images that are known to have a shell, or none, by the image's id. */
  readonly #hasShell = new LRUCache<string, boolean>({ max: MAX_KNOWN });
  #interpreter: Promise<Interpreter> | null = null;

  constructor(deps: ServersDeps) {
    this.#deps = deps;
  }

  /**
   * Starts a server; it may not listen yet.
   * @param planFor the server's container, given the port that it is to listen on
   * @param fixedPort the one port that it can listen on; undefined where it listens on any that it is told
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`; whatever the client throws; nothing is left then
   */
  async launch(
    planFor: (port: number) => ContainerPlan,
    fixedPort: number | undefined,
    image: ImageFacts,
    signal: AbortSignal,
  ): Promise<{ launched: Launched; dialer: Dialer }> {
    const plan = planFor(fixedPort ?? PORT_IN_SANDBOX);
    if (plan.limits.network === 'host') {
      const port = await freePort();
      return { launched: await this.#run(planFor(port), image, signal), dialer: new DirectDialer(port) };
    }
    const port = fixedPort ?? PORT_IN_SANDBOX;
    const bridge = await this.#bridge(plan, port, signal);
    try {
      const launched = await this.#run({ ...plan, networkOf: plan.networkOf ?? bridge.containerId }, image, signal);
      return { launched, dialer: new BridgedDialer(bridge, bridge.channel, port) };
    } catch (error) {
      await bridge.remove();
      throw error;
    }
  }

  /** A Node that runs in any image. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
  interpreter(): Promise<Interpreter> {
    return this.#stagedInterpreter();
  }

  async #bridge(plan: ContainerPlan, port: number, signal: AbortSignal): Promise<ContainerBridge> {
    const { stagedBootstraps, makeSocketDir, seenByEngine, launchDeps } = this.#deps;
    const [interpreter, bootstrapDirectory] = await Promise.all([this.#stagedInterpreter(), stagedBootstraps()]);
    const deps = { ...launchDeps(), interpreter, bootstrapDirectory, seenByEngine };
    return await ContainerBridge.start(deps, plan, await makeSocketDir(), port, signal);
  }

  /**
   * Runs the server. Its output goes into pipes where the image has a shell to say so, since that keeps the order of lines
   * and answers.
   */
  async #run(plan: ContainerPlan, image: ImageFacts, signal: AbortSignal): Promise<Launched> {
    if (this.#hasShell.get(image.id) !== false) {
      const launched = await this.#runPiped(plan, image, signal);
      this.#hasShell.set(image.id, launched !== null);
      if (launched !== null) return launched;
    }
    const launched = await launchAttached(this.#deps.launchDeps(), { ...plan, attached: true }, signal);
    launched.process.stdin?.end();
    return launched;
  }

  /** Null where the image has no shell. */
  async #runPiped(plan: ContainerPlan, image: ImageFacts, signal: AbortSignal): Promise<Launched | null> {
    const { makeSocketDir, seenByEngine, launchDeps } = this.#deps;
    const socketDir = await makeSocketDir();
    const piped: ContainerPlan = {
      ...plan,
      command: [...SOCKET_DIR_SCRIPT, ...(plan.command ?? [])],
      mounts: { ...plan.mounts, [PLACES.socketDir]: seenByEngine(socketDir.directory) },
    };
    const needs = this.#hasShell.has(image.id) ? null : SHELL;
    try {
      const launched = await launchPiped(launchDeps(), piped, socketDir, needs, signal);
      if (launched === null) await socketDir.discard();
      return launched;
    } catch (error) {
      await socketDir.discard();
      throw error;
    }
  }

  #stagedInterpreter(): Promise<Interpreter> {
    this.#interpreter ??= stageInterpreter(this.#deps.stagingDirectory).catch((error: unknown) => {
      this.#interpreter = null;
      const message = `The bridge to servers in containers could not be made ready: ${saidBy(error)}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
    });
    return this.#interpreter;
  }
}
