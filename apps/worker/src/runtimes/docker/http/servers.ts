import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { LRUCache } from 'lru-cache';
import { BridgedReach, PORT_IN_SANDBOX } from '../../process/http/bridged-reach.ts';
import { DirectReach, freePort } from '../../process/http/direct-reach.ts';
import { serverProgram } from '../../process/http/http-program.ts';
import type { Reach } from '../../process/http/reach.ts';
import { type ContainerPlan, PLACES } from '../container-plan.ts';
import { saidBy } from '../engine.ts';
import type { Exchange } from '../exchange.ts';
import { EXCHANGE_SCRIPT, SHELL } from '../exchange-script.ts';
import type { ImageFacts } from '../images.ts';
import { type Launched, type LaunchParts, launchAttached, launchPiped } from '../launch.ts';
import { ContainerBridge } from './container-bridge.ts';
import { type Interpreter, stageInterpreter } from './interpreter.ts';

/** Images of which it is remembered whether they have a shell. */
const MAX_KNOWN = 1000;

export interface ServersParts {
  readonly stagingDirectory: string;
  readonly stagedBootstraps: () => Promise<string>;
  readonly makeExchange: () => Promise<Exchange>;
  readonly seenByEngine: (directory: string) => string;
  readonly launchParts: () => LaunchParts;
}

/** Starts servers in containers, and the ways to them. */
export class Servers {
  readonly #parts: ServersParts;
  /** By the id of their image. */
  readonly #hasShell = new LRUCache<string, boolean>({ max: MAX_KNOWN });
  #interpreter: Promise<Interpreter> | null = null;

  constructor(parts: ServersParts) {
    this.#parts = parts;
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
  ): Promise<{ launched: Launched; reach: Reach }> {
    if (plan.limits.network === 'host') {
      const port = await freePort();
      return { launched: await this.#run(plan, image, version, port, signal), reach: new DirectReach(port) };
    }
    const bridge = await this.#bridge(plan, signal);
    try {
      const joined = { ...plan, networkOf: bridge.containerId };
      const launched = await this.#run(joined, image, version, PORT_IN_SANDBOX, signal);
      return { launched, reach: new BridgedReach(bridge, bridge.channel) };
    } catch (error) {
      await bridge.remove();
      throw error;
    }
  }

  async #bridge(plan: ContainerPlan, signal: AbortSignal): Promise<ContainerBridge> {
    const { stagedBootstraps, makeExchange, seenByEngine, launchParts } = this.#parts;
    const [interpreter, bootstrapDirectory] = await Promise.all([this.#stagedInterpreter(), stagedBootstraps()]);
    const parts = { ...launchParts(), interpreter, bootstrapDirectory, seenByEngine };
    return await ContainerBridge.start(parts, plan, await makeExchange(), signal);
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
    const launched = await launchAttached(this.#parts.launchParts(), { ...whole, attached: true }, signal);
    launched.process.stdin?.end();
    return launched;
  }

  /** Null where the image has no shell. */
  async #runPiped(plan: ContainerPlan, image: ImageFacts, signal: AbortSignal): Promise<Launched | null> {
    const { makeExchange, seenByEngine, launchParts } = this.#parts;
    const exchange = await makeExchange();
    const piped: ContainerPlan = {
      ...plan,
      command: [...EXCHANGE_SCRIPT, ...(plan.command ?? [])],
      mounts: { ...plan.mounts, [PLACES.exchange]: seenByEngine(exchange.directory) },
    };
    const needs = this.#hasShell.has(image.id) ? null : SHELL;
    try {
      const launched = await launchPiped(launchParts(), piped, exchange, needs, signal);
      if (launched === null) await exchange.discard();
      return launched;
    } catch (error) {
      await exchange.discard();
      throw error;
    }
  }

  #stagedInterpreter(): Promise<Interpreter> {
    this.#interpreter ??= stageInterpreter(this.#parts.stagingDirectory).catch((error: unknown) => {
      this.#interpreter = null;
      const message = `The bridge to servers in containers could not be made ready: ${saidBy(error)}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
    });
    return this.#interpreter;
  }
}
