import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import { RELAYS_NETWORKS } from '@pilum/core/spec/can-run.ts';
import { isRelayed } from '@pilum/core/spec/networks.ts';
import type Docker from 'dockerode';
import { FreezingInstance } from '../contract/freezing-instance.ts';
import { NetworkedInstance } from '../contract/networked-instance.ts';
import { ProgramRuntime } from '../contract/program-runtime.ts';
import type { ProgramHost } from '../contract/protocol.ts';
import type { RunnableVersion, Runtime, RuntimeInstance, StartOptions } from '../contract/runtime.ts';
import { stageBootstraps } from '../protocols/bootstraps.ts';
import { protocolsOf } from '../protocols/protocols.ts';
import { removeContainer } from './container.ts';
import { DockerHost, makeSocketDir, pinOf, seenByEngine } from './docker-host.ts';
import { connectEngine, type EngineFacts, engineAway, ping, readFacts, saidBy } from './engine.ts';
import { Servers } from './http/servers.ts';
import { ImagePreparer } from './images/image-preparer.ts';
import { isRoot, rootRefused } from './images/image-user.ts';
import { Images } from './images/images.ts';
import { labelsFor } from './labels.ts';
import type { LaunchDeps } from './launch.ts';
import { Life } from './life.ts';
import type { DockerRuntimeOptions } from './options.ts';
import { removeOrphanContainers, removeOrphanSocketDirs } from './orphans.ts';
import { removeOrphanSecretDirs, removeSecretDirs } from './secret-dir.ts';
import { startFailure } from './start-failure.ts';
import { wallsOfContainers } from './walls.ts';

/** The docker runtime: every instance is a container of a Docker Engine. */
export function createDockerRuntime(options: DockerRuntimeOptions): Runtime {
  return new DockerRuntime(options);
}

class DockerRuntime extends ProgramRuntime {
  readonly kind = 'docker';
  override readonly preparer: ImagePreparer;
  protected readonly runsImages = true;
  readonly #options: DockerRuntimeOptions;
  readonly #engine: Docker;
  readonly #images: Images;
  readonly #servers: Servers;
  /** The work that goes on after the end of instances. */
  readonly #background = new Set<Promise<void>>();
  /** Containers that could not be removed when their time had come. */
  readonly #left = new Set<string>();
  #facts: EngineFacts | null = null;
  /** Whether containers can be frozen without the Engine; null before one was to be. */
  #freezes: boolean | null = null;
  #bootstraps: Promise<string> | null = null;
  #life: Promise<Life> | null = null;

  constructor(options: DockerRuntimeOptions) {
    super({ ...options, protocols: protocolsOf('docker') });
    const { host, credentialsFile, workerId, stagingDirectory } = options;
    this.#options = options;
    this.#engine = connectEngine(host);
    this.#images = new Images({ engine: this.#engine, host, credentialsFile, closing: this.closing });
    this.#servers = new Servers({
      stagingDirectory,
      stagedBootstraps: () => this.#stagedBootstraps(),
      makeSocketDir: () => makeSocketDir(stagingDirectory),
      seenByEngine: (directory) => seenByEngine(options, directory),
      launchDeps: () => this.#launchDeps(),
    });
    this.preparer = new ImagePreparer({
      engine: this.#engine,
      images: this.#images,
      host,
      pull: options.pull,
      allowRoot: options.allowRoot,
      labels: (artifact) => labelsFor(workerId, '', artifact),
    });
  }

  async check(): Promise<RuntimeStatus> {
    const status = { kind: this.kind, isolation: 'sandbox' } as const;
    const { host, ociRuntime } = this.#options;
    try {
      if (this.#facts === null) this.#facts = await readFacts(this.#engine);
      else await ping(this.#engine);
      const { version, cgroupVersion, ociRuntimes, unlimited } = this.#facts;
      if (ociRuntime !== null && !ociRuntimes.includes(ociRuntime)) {
        this.#facts = null;
        const note = `the Docker Engine has no runtime ${ociRuntime} (PILUM_DOCKER_RUNTIME); it has: ${ociRuntimes.join(', ')}`;
        return { ...status, available: false, limits: [], notes: [note] };
      }
      const notes = [`Docker Engine ${version}`, ...unlimited.map((what) => `this Engine does not limit ${what}`)];
      const walls = wallsOfContainers(this.#facts, this.#freezes, this.#options);
      const limits = [`cgroup-v${cgroupVersion}`];
      const networks = await this.#options.networks();
      const problem = networks === null ? null : await networks.problem();
      if (networks !== null && problem === null) limits.push(RELAYS_NETWORKS);
      if (problem !== null) notes.push(problem);
      return { ...status, available: true, limits, walls, notes };
    } catch (error) {
      // Another Engine may come back than the one that went.
      this.#facts = null;
      const { message } = engineAway(error, host);
      return { ...status, available: false, limits: [], notes: [`RUNTIME_UNAVAILABLE: ${message}`] };
    }
  }

  async removeOrphans(): Promise<void> {
    // While the Engine is away its containers cannot be told from those that are not there; `check` says that it is.
    if (this.#facts === null) return;
    for (const id of this.#left) {
      await removeContainer(this.#engine, id);
      this.#left.delete(id);
    }
    await removeOrphanContainers(this.#engine, this.#options);
    await removeOrphanSecretDirs(this.#options);
    await removeOrphanSocketDirs(this.#options);
  }

  protected override async begin(runnable: RunnableVersion, options: StartOptions): Promise<RuntimeInstance> {
    try {
      return await super.begin(runnable, options);
    } catch (error) {
      throw startFailure(error, this.#options.host);
    }
  }

  protected override async hostFor(runnable: RunnableVersion, instanceId: string): Promise<DockerHost> {
    // This worker does not allow what another one allowed when the version was deployed.
    const { user } = pinOf(runnable);
    if (isRoot(user) && !this.#options.allowRoot) throw rootRefused(user);
    await this.#beginLife();
    const deps = {
      options: this.#options,
      images: this.#images,
      servers: this.#servers,
      stagedBootstraps: () => this.#stagedBootstraps(),
      launchDeps: this.#launchDeps(),
      limitsSockets: this.#facts?.sockets === 'apart',
    };
    return new DockerHost(deps, runnable, instanceId);
  }

  protected override finish(
    launched: RuntimeInstance,
    host: ProgramHost,
    { version }: RunnableVersion,
  ): RuntimeInstance {
    const isCounted = host instanceof DockerHost && isRelayed(version.spec.limits.network);
    const instance = isCounted ? new NetworkedInstance(launched, () => host.network) : launched;
    const { freezeAfterMs, pauseAfterMs, logger } = this.#options;
    const container = host instanceof DockerHost ? host.container : null;
    // Where there is nothing else to do, each container is tried.
    const mayFreeze = freezeAfterMs > 0 && (this.#freezes !== false || pauseAfterMs === 0);
    const afterMs = mayFreeze ? freezeAfterMs : pauseAfterMs;
    if (container === null || afterMs === 0 || version.spec.pool.background === true) return instance;
    const freeze = async () => {
      const isFrozen = mayFreeze && (await container.freeze());
      if (mayFreeze) this.#freezes = container.canFreeze ?? this.#freezes;
      return isFrozen || (pauseAfterMs > 0 && (await container.pause()));
    };
    const freezer = { freeze, thaw: () => container.resume() };
    // A wake by the Engine is too dear for a question.
    return new FreezingInstance(instance, { freezer, afterMs, asksWhileFrozen: mayFreeze, logger });
  }

  protected override async release(): Promise<void> {
    await Promise.all(this.#background);
    await removeSecretDirs(this.#options.stagingDirectory);
    (await this.#life?.catch(() => null))?.end();
  }

  /** Shows that this worker lives, before there is anything that could be taken for a dead worker's. */
  async #beginLife(): Promise<void> {
    this.#life ??= Life.begin(this.#options.stagingDirectory);
    try {
      await this.#life;
    } catch (error) {
      this.#life = null;
      const message = `The socket that says that this worker lives could not be made: ${saidBy(error)}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
    }
  }

  #launchDeps(): LaunchDeps {
    return {
      engine: this.#engine,
      logger: this.#options.logger,
      onLeft: (id: string) => void this.#left.add(id),
      inBackground: (work: Promise<void>) => {
        this.#background.add(work);
        void work.finally(() => this.#background.delete(work));
      },
    };
  }

  #stagedBootstraps(): Promise<string> {
    this.#bootstraps ??= stageBootstraps(this.#options.stagingDirectory).catch((error: unknown) => {
      this.#bootstraps = null;
      throw error;
    });
    return this.#bootstraps;
  }
}
