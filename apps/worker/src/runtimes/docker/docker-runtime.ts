import { join, relative } from 'node:path';
import { abortable } from '@pilum/core/async/abortable.ts';
import { InstanceError, RequestError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import type Docker from 'dockerode';
import { layerVariables, pathWith, placeLayers, placeOfLayer } from '../contract/layers.ts';
import type { RunnableVersion, Runtime, RuntimeInstance, StartOptions } from '../contract/runtime.ts';
import { HandlerInstance } from '../protocols/handler/handler-instance.ts';
import { HttpInstance } from '../protocols/http/http-instance.ts';
import { StdioInstance } from '../protocols/stdio/stdio-instance.ts';
import { interpreterCommand } from '../sandbox/launch-plan.ts';
import { stageBootstraps } from '../sandbox/staging.ts';
import { type Container, removeContainer } from './container.ts';
import { type ContainerPlan, PLACES } from './container-plan.ts';
import { connectEngine, type EngineFacts, engineAway, ping, readFacts, saidBy, statusOf } from './engine.ts';
import { Servers } from './http/servers.ts';
import { ImagePreparer } from './images/image-preparer.ts';
import { isRoot, rootRefused } from './images/image-user.ts';
import { type ImageFacts, Images } from './images/images.ts';
import { InstanceSocketDir, SOCKET_DIR_FILES } from './instance-socket-dir.ts';
import { labelsFor } from './labels.ts';
import { type Launched, launchAttached, launchWithSocketDir } from './launch.ts';
import { Life } from './life.ts';
import type { DockerRuntimeOptions } from './options.ts';
import { removeOrphanContainers, removeOrphanSocketDirs } from './orphans.ts';
import { PausingInstance } from './pausing-instance.ts';
import { SOCKET_DIR_SCRIPT } from './socket-dir-script.ts';
import { startFailure } from './start-failure.ts';

const DEFAULT_ENTRIES = { node: 'index.mjs#default', python: 'main.py#handler' } as const;
const INTERPRETERS = { node: 'node', python: 'python3' } as const;
/** What an image has that says nothing of it. */
const DEFAULT_ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/tmp',
  LANG: 'C.UTF-8',
} as const;
const NO_SUCH_IMAGE = 404;

/** The docker runtime: every instance is a container of a Docker Engine. */
export function createDockerRuntime(options: DockerRuntimeOptions): Runtime {
  return new DockerRuntime(options);
}

class DockerRuntime implements Runtime {
  readonly kind = 'docker';
  readonly capabilities = { protocols: ['handler', 'stdio', 'http'], streaming: true } as const;
  readonly prewarm = null;
  readonly preparer: ImagePreparer;
  readonly #options: DockerRuntimeOptions;
  readonly #engine: Docker;
  readonly #images: Images;
  readonly #servers: Servers;
  readonly #instances = new Set<RuntimeInstance>();
  readonly #starting = new Set<Promise<unknown>>();
  /** What is still done after the end of instances. */
  readonly #background = new Set<Promise<void>>();
  /** Containers that could not be removed when their time had come. */
  readonly #left = new Set<string>();
  readonly #closing = new AbortController();
  #facts: EngineFacts | null = null;
  #bootstraps: Promise<string> | null = null;
  #life: Promise<Life> | null = null;

  constructor(options: DockerRuntimeOptions) {
    const { host, credentialsFile, workerId } = options;
    this.#options = options;
    this.#engine = connectEngine(host);
    this.#images = new Images({ engine: this.#engine, host, credentialsFile, closing: this.#closing.signal });
    this.#servers = new Servers({
      stagingDirectory: options.stagingDirectory,
      stagedBootstraps: () => this.#stagedBootstraps(),
      makeSocketDir: () => this.#makeSocketDir(),
      seenByEngine: (directory) => this.#seenByEngine(directory),
      launchParts: () => this.#launchParts(),
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
      return { ...status, available: true, limits: [`cgroup-v${cgroupVersion}`], notes };
    } catch (error) {
      // Another Engine may come back than the one that went.
      this.#facts = null;
      const { message } = engineAway(error, host);
      return { ...status, available: false, limits: [], notes: [`RUNTIME_UNAVAILABLE: ${message}`] };
    }
  }

  async start(runnable: RunnableVersion, { instanceId, signal }: StartOptions): Promise<RuntimeInstance> {
    if (this.#closing.signal.aborted) throw closed();
    const started = this.#start(runnable, instanceId, AbortSignal.any([signal, this.#closing.signal]));
    this.#starting.add(started);
    try {
      const instance = await started;
      this.#instances.add(instance);
      void instance.ended.then(() => this.#instances.delete(instance));
      return instance;
    } catch (error) {
      throw startFailure(error, this.#options.host);
    } finally {
      this.#starting.delete(started);
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
    await removeOrphanSocketDirs(this.#options);
  }

  async close(): Promise<void> {
    this.#closing.abort(closed());
    await Promise.allSettled(this.#starting);
    const graceMs = this.#options.killGraceMs;
    await Promise.all([...this.#instances].map((instance) => instance.stop({ graceMs })));
    await Promise.all(this.#background);
    (await this.#life?.catch(() => null))?.end();
  }

  async #start(runnable: RunnableVersion, instanceId: string, signal: AbortSignal): Promise<RuntimeInstance> {
    this.#admit(runnable);
    await this.#beginLife();
    if (signal.aborted) throw aborted(signal.reason);
    const { protocol } = runnable.version.spec;
    if (protocol === 'handler') return await this.#startHandler(runnable, instanceId, signal);
    if (protocol === 'http') return await this.#startServer(runnable, instanceId, signal);
    await this.#imageOf(runnable, signal);
    const instance = new StdioInstance(instanceId, runnable, async (env) => {
      try {
        const launched = await this.#withImage(runnable, this.#closing.signal, async (image) =>
          launchAttached(
            this.#launchParts(),
            await this.#commandPlan(runnable, instanceId, image, env),
            this.#closing.signal,
          ),
        );
        return launched.process;
      } catch (error) {
        throw startFailure(error, this.#options.host);
      }
    });
    return instance;
  }

  async #startHandler(runnable: RunnableVersion, instanceId: string, signal: AbortSignal): Promise<RuntimeInstance> {
    const { spec, code } = runnable.version;
    const language = spec.language ?? 'node';
    const { launched, image } = await this.#launchHandler(runnable, instanceId, signal);
    const instance = new HandlerInstance(instanceId, runnable, launched.process);
    await instance.load(
      {
        entry: spec.entry ?? code?.fileName ?? DEFAULT_ENTRIES[language],
        env: { ...DEFAULT_ENVIRONMENT, ...image.env, ...layerEnvironment(runnable, image), ...spec.env },
        codeDirectory: PLACES.code,
        layers: runnable.layers.map(({ id }) => placeOfLayer(id)),
        limits: { outputBytes: spec.limits.outputMiB * 1024 * 1024 },
      },
      signal,
    );
    return this.#pausing(instance, launched.container);
  }

  async #startServer(runnable: RunnableVersion, instanceId: string, signal: AbortSignal): Promise<RuntimeInstance> {
    const launching = this.#withImage(runnable, signal, async (image) => {
      const plan = await this.#serverPlan(runnable, instanceId, image);
      return await this.#servers.launch(plan, image, runnable.version, signal);
    });
    const { launched, dialer } = await launching.catch((error: unknown) => {
      throw signal.aborted ? aborted(error) : error;
    });
    const instance = new HttpInstance(instanceId, runnable, launched.process, dialer);
    await instance.ready(signal);
    return this.#pausing(instance, launched.container);
  }

  #pausing(instance: RuntimeInstance, container: Container): RuntimeInstance {
    const { pauseAfterMs, logger } = this.#options;
    return pauseAfterMs === 0 ? instance : new PausingInstance(instance, container, pauseAfterMs, logger);
  }

  async #launchHandler(
    runnable: RunnableVersion,
    instanceId: string,
    signal: AbortSignal,
  ): Promise<{ launched: Launched; image: ImageFacts }> {
    const socketDir = await this.#makeSocketDir();
    try {
      return await this.#withImage(runnable, signal, async (image) => {
        const plan = await this.#handlerPlan(runnable, instanceId, image, socketDir);
        return { launched: await launchWithSocketDir(this.#launchParts(), plan, socketDir, signal), image };
      });
    } catch (error) {
      await socketDir.discard();
      throw signal.aborted ? aborted(error) : error;
    }
  }

  /** Before there is anything that could be taken for a dead worker's. */
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

  async #makeSocketDir(): Promise<InstanceSocketDir> {
    try {
      return await InstanceSocketDir.make(this.#options.stagingDirectory);
    } catch (error) {
      const message = `The directory for an instance could not be made: ${saidBy(error)}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
    }
  }

  async #handlerPlan(
    runnable: RunnableVersion,
    instanceId: string,
    image: ImageFacts,
    socketDir: InstanceSocketDir,
  ): Promise<ContainerPlan> {
    const { language = 'node', limits } = runnable.version.spec;
    const interpreter = INTERPRETERS[language];
    const command = interpreterCommand(
      language,
      { node: interpreter, bootstrapDirectory: PLACES.bootstrap, codeDirectory: PLACES.code, layers: [] },
      { memoryMiB: limits.memoryMiB, pythonPath: interpreter },
    );
    return {
      ...(await this.#planOf(runnable, instanceId, image)),
      kind: language,
      command: [...SOCKET_DIR_SCRIPT, ...command],
      workingDirectory: '/',
      env: { HOME: DEFAULT_ENVIRONMENT.HOME, PILUM_CHANNEL: `${PLACES.socketDir}/${SOCKET_DIR_FILES.socket}` },
      mounts: {
        ...this.#filesOf(runnable),
        [PLACES.bootstrap]: this.#seenByEngine(await this.#stagedBootstraps()),
        [PLACES.socketDir]: this.#seenByEngine(socketDir.directory),
      },
      attached: false,
    };
  }

  async #commandPlan(
    runnable: RunnableVersion,
    instanceId: string,
    image: ImageFacts,
    env: Record<string, string>,
  ): Promise<ContainerPlan> {
    const { codeDirectory, version } = runnable;
    const { HOME, LANG } = DEFAULT_ENVIRONMENT;
    return {
      ...(await this.#planOf(runnable, instanceId, image)),
      kind: 'command',
      command: version.spec.command ?? null,
      workingDirectory: codeDirectory === null ? null : PLACES.code,
      env: { HOME, LANG, ...image.env, ...layerEnvironment(runnable, image), ...env },
      mounts: this.#filesOf(runnable),
      attached: true,
    };
  }

  async #serverPlan(runnable: RunnableVersion, instanceId: string, image: ImageFacts): Promise<ContainerPlan> {
    return {
      ...(await this.#commandPlan(runnable, instanceId, image, {})),
      command: runnable.version.spec.command ?? image.command,
      attached: false,
    };
  }

  async #planOf(
    runnable: RunnableVersion,
    instanceId: string,
    image: ImageFacts,
  ): Promise<Pick<ContainerPlan, 'name' | 'labels' | 'image' | 'user' | 'limits' | 'ociRuntime'>> {
    const { namespace, version } = runnable;
    const artifact = `${namespace}/${version.artifactId}@${version.version}`;
    return {
      name: `pilum-${version.artifactId}-${version.version}-${instanceId}`,
      labels: await labelsFor(this.#options.workerId, instanceId, artifact),
      image: image.id,
      user: pinOf(runnable).user,
      limits: version.spec.limits,
      ociRuntime: this.#options.ociRuntime,
    };
  }

  /** Has an image for as long as it is there: one that the Engine had a moment ago may have been removed. */
  async #withImage<T>(
    runnable: RunnableVersion,
    signal: AbortSignal,
    use: (image: ImageFacts) => Promise<T>,
  ): Promise<T> {
    const image = await this.#imageOf(runnable, signal);
    try {
      return await use(image);
    } catch (error) {
      if (statusOf(error) !== NO_SUCH_IMAGE || !/no such image/i.test(saidBy(error))) throw error;
      this.#images.forget(image.id);
      return await use(await this.#imageOf(runnable, signal));
    }
  }

  async #imageOf(runnable: RunnableVersion, signal: AbortSignal): Promise<ImageFacts> {
    try {
      return await abortable(this.#images.ensure(pinOf(runnable), signal), signal);
    } catch (error) {
      if (signal.aborted) throw aborted(error);
      throw error;
    }
  }

  /** Code and layers, by where a container finds them. */
  #filesOf({ codeDirectory, layers }: RunnableVersion): Record<string, string> {
    const code = codeDirectory === null ? {} : { [PLACES.code]: this.#seenByEngine(codeDirectory) };
    const others = layers.map(({ id, directory }) => [placeOfLayer(id), this.#seenByEngine(directory)]);
    return { ...code, ...Object.fromEntries(others) };
  }

  /** What the Engine's machine calls a directory of ours. */
  #seenByEngine(directory: string): string {
    const { stagingDirectory, stagingOfEngine } = this.#options;
    return stagingOfEngine === null ? directory : join(stagingOfEngine, relative(stagingDirectory, directory));
  }

  #launchParts() {
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

  /** Refuses what this worker does not run. */
  #admit(runnable: RunnableVersion): void {
    const { protocol, limits } = runnable.version.spec;
    if (!this.capabilities.protocols.some((known) => known === protocol)) {
      throw new RequestError('NOT_IMPLEMENTED', { message: `The docker runtime has no protocol ${protocol} yet.` });
    }
    if (protocol === 'handler' && runnable.codeDirectory === null) {
      throw new InstanceError('INSTANCE_START_FAILED', { message: 'A handler needs code, and this version has none.' });
    }
    if (limits.network === 'host' && !this.#options.allowHostNetwork) {
      throw new RequestError('FORBIDDEN', { message: 'This worker gives no function the network of its host.' });
    }
    // What another worker allowed when the version was deployed is not allowed by this one.
    const { user } = pinOf(runnable);
    if (isRoot(user) && !this.#options.allowRoot) throw rootRefused(user);
  }
}

/** What the layers of a version add to the environment of its image. */
function layerEnvironment({ layers }: RunnableVersion, image: ImageFacts): Record<string, string> {
  if (layers.length === 0) return {};
  const placed = placeLayers(layers, true);
  return { PATH: pathWith(placed, image.env.PATH ?? DEFAULT_ENVIRONMENT.PATH), ...layerVariables(placed) };
}

function pinOf({ version }: RunnableVersion) {
  if (version.image !== undefined) return version.image;
  const message = `Version ${version.version} of ${version.artifactId} has no image: it was not made ready.`;
  throw new InstanceError('INSTANCE_START_FAILED', { message });
}

const closed = () => new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The worker is stopping.' });

const aborted = (cause: unknown) =>
  new InstanceError('INSTANCE_START_FAILED', {
    message: 'The start was aborted before the instance was ready.',
    cause,
  });
