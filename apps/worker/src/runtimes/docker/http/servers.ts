import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { LRUCache } from 'lru-cache';
import { BridgedDialer, PORT_IN_SANDBOX } from '../../protocols/http/bridged-dialer.ts';
import type { Dialer } from '../../protocols/http/dialer.ts';
import { DirectDialer, freePort } from '../../protocols/http/direct-dialer.ts';
import { serverProgram } from '../../protocols/http/http-program.ts';
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
  readonly launchParts: () => LaunchDeps;
}

/** Starts servers in containers, and the ways to them. */
export class Servers {
  readonly #deps: ServersDeps;
  /** By the id of their image. */
  readonly #hasShell = new LRUCache<string, boolean>({ max: MAX_KNOWN });
  #interpreter: Promise<Interpreter> | null = null;

  constructor(deps: ServersDeps) {
    this.#deps = deps;
  }

  /**
   * Starts a server; it may not listen yet.
   * @param plan its command is that of the server
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`; whatever the client throws; nothing is left then
   */
  async launch(
    plan: ContainerPlan,
    image: ImageFacts,
    version: Version,
    signal: AbortSignal,
  ): Promise<{ launched: Launched; dialer: Dialer }> {
    if (plan.limits.network === 'host') {
      const port = await freePort();
      return { launched: await this.#run(plan, image, version, port, signal), dialer: new DirectDialer(port) };
    }
    const bridge = await this.#bridge(plan, signal);
    try {
      const joined = { ...plan, networkOf: bridge.containerId };
      const launched = await this.#run(joined, image, version, PORT_IN_SANDBOX, signal);
      return { launched, dialer: new BridgedDialer(bridge, bridge.channel) };
    } catch (error) {
      await bridge.remove();
      throw error;
    }
  }

  async #bridge(plan: ContainerPlan, signal: AbortSignal): Promise<ContainerBridge> {
    const { stagedBootstraps, makeSocketDir, seenByEngine, launchParts } = this.#deps;
    const [interpreter, bootstrapDirectory] = await Promise.all([this.#stagedInterpreter(), stagedBootstraps()]);
    const deps = { ...launchParts(), interpreter, bootstrapDirectory, seenByEngine };
    return await ContainerBridge.start(deps, plan, await makeSocketDir(), signal);
  }

  /** What it prints goes into pipes where the image has a shell to say so, since that keeps the order of lines and answers. */
  async #run(
    plan: ContainerPlan,
    image: ImageFacts,
    version: Version,
    port: number,
    signal: AbortSignal,
  ): Promise<Launched> {
    const whole = { ...plan, env: { ...plan.env, ...serverProgram(version, port).env } };
    if (this.#hasShell.get(image.id) !== false) {
      const launched = await this.#runPiped(whole, image, signal);
      this.#hasShell.set(image.id, launched !== null);
      if (launched !== null) return launched;
    }
    const launched = await launchAttached(this.#deps.launchParts(), { ...whole, attached: true }, signal);
    launched.process.stdin?.end();
    return launched;
  }

  /** Null where the image has no shell. */
  async #runPiped(plan: ContainerPlan, image: ImageFacts, signal: AbortSignal): Promise<Launched | null> {
    const { makeSocketDir, seenByEngine, launchParts } = this.#deps;
    const socketDir = await makeSocketDir();
    const piped: ContainerPlan = {
      ...plan,
      command: [...SOCKET_DIR_SCRIPT, ...(plan.command ?? [])],
      mounts: { ...plan.mounts, [PLACES.socketDir]: seenByEngine(socketDir.directory) },
    };
    const needs = this.#hasShell.has(image.id) ? null : SHELL;
    try {
      const launched = await launchPiped(launchParts(), piped, socketDir, needs, signal);
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
