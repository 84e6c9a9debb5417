import { join, relative } from 'node:path';
import { abortable } from '@pilum/core/async/abortable.ts';
import { InstanceError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { SECRETS_DIRECTORY } from '@pilum/core/schemas/secret.ts';
import { LANGUAGES } from '@pilum/core/spec/languages.ts';
import { isRelayed } from '@pilum/core/spec/networks.ts';
import type { InstanceNetwork } from '../contract/instance-network.ts';
import { layerVariables, pathWith, placeLayers, placeOfLayer } from '../contract/layers.ts';
import type { Places, Program } from '../contract/program.ts';
import type { Launched as LaunchedProgram, LaunchedServer, ProgramHost, ServerProgram } from '../contract/protocol.ts';
import type { RunnableVersion } from '../contract/runtime.ts';
import { startAborted } from '../contract/runtime-base.ts';
import { PORT_IN_SANDBOX } from '../protocols/http/bridged-dialer.ts';
import type { Container } from './container.ts';
import { type ContainerPlan, PLACES } from './container-plan.ts';
import { saidBy, statusOf } from './engine.ts';
import { HeldNetwork } from './held-network.ts';
import type { Servers } from './http/servers.ts';
import type { ImageFacts, Images } from './images/images.ts';
import { InstanceSocketDir, SOCKET_DIR_FILES } from './instance-socket-dir.ts';
import { labelsFor } from './labels.ts';
import { type LaunchDeps, type Launched, launchAttached, launchWithSocketDir } from './launch.ts';
import type { DockerRuntimeOptions } from './options.ts';
import { SecretDir, withVariables } from './secret-dir.ts';
import { SOCKET_DIR_SCRIPT } from './socket-dir-script.ts';
import { startFailure } from './start-failure.ts';

/** The environment of a container whose image names none. */
const DEFAULT_ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/tmp',
  LANG: 'C.UTF-8',
} as const;
const NO_SUCH_IMAGE = 404;

export interface DockerHostDeps {
  readonly options: DockerRuntimeOptions;
  readonly images: Images;
  readonly servers: Servers;
  readonly stagedBootstraps: () => Promise<string>;
  readonly launchDeps: LaunchDeps;
  /** Tells whether the Engine limits the buffers of sockets apart from memory. */
  readonly limitsSockets: boolean;
}

/** Launches the programs of one instance, each in a container. */
export class DockerHost implements ProgramHost {
  /** The container of what was launched last; null where nothing was. */
  container: Container | null = null;
  /** The network of what was launched last, where one is relayed; null else. */
  network: InstanceNetwork | null = null;
  readonly #deps: DockerHostDeps;
  readonly #runnable: RunnableVersion;
  readonly #instanceId: string;
  #secretDir: SecretDir | null = null;

  constructor(deps: DockerHostDeps, runnable: RunnableVersion, instanceId: string) {
    this.#deps = deps;
    this.#runnable = runnable;
    this.#instanceId = instanceId;
  }

  async prepare(signal: AbortSignal): Promise<void> {
    await this.#imageOf(signal);
  }

  async launch(program: Program, signal: AbortSignal): Promise<LaunchedProgram> {
    try {
      await this.#layOutSecrets(program);
      const { launched, image } = program.channel
        ? await this.#launchWithChannel(program, signal)
        : await this.#withImage(signal, async (image) => {
            const plan = await this.#planOf(program, image);
            const launched = await this.#withNetwork(plan, signal, (whole) =>
              launchAttached(this.#deps.launchDeps, whole, signal),
            );
            return { launched, image };
          });
      this.container = launched.container;
      this.#clearAfter(launched.process.ended);
      const environment = { ...DEFAULT_ENVIRONMENT, ...image.env, ...this.#layerEnvironment(image) };
      return { process: launched.process, places: this.#places(image), environment };
    } catch (error) {
      await this.#secretDir?.remove();
      throw startFailure(error, this.#deps.options.host);
    }
  }

  async launchServer({ program, port }: ServerProgram, signal: AbortSignal): Promise<LaunchedServer> {
    try {
      await this.#layOutSecrets(program(PORT_IN_SANDBOX));
      const { launched, dialer } = await this.#withImage(signal, async (image) => {
        const plan = { ...(await this.#planOf(program(PORT_IN_SANDBOX), image)), attached: false };
        const withPort = (given: number) => ({
          ...plan,
          env: { ...plan.env, ...this.#shownVariables(program(given)) },
        });
        return await this.#withNetwork(plan, signal, ({ networkOf }) =>
          this.#deps.servers.launch(
            (given) => ({ ...withPort(given), ...(networkOf === undefined ? {} : { networkOf }) }),
            port,
            image,
            signal,
          ),
        );
      });
      this.container = launched.container;
      this.#clearAfter(launched.process.ended);
      return { process: launched.process, dialer };
    } catch (error) {
      await this.#secretDir?.remove();
      throw signal.aborted ? startAborted(error) : error;
    }
  }

  /** Launches a program that connects to a socket in a directory of its own: a warm call does not go through the Engine. */
  async #launchWithChannel(program: Program, signal: AbortSignal): Promise<{ launched: Launched; image: ImageFacts }> {
    const { options, launchDeps, stagedBootstraps } = this.#deps;
    const socketDir = await makeSocketDir(options.stagingDirectory);
    try {
      return await this.#withImage(signal, async (image) => {
        const plan = await this.#planOf(program, image);
        const inside: ContainerPlan = {
          ...plan,
          command: [...SOCKET_DIR_SCRIPT, ...(plan.command ?? [])],
          env: {
            HOME: DEFAULT_ENVIRONMENT.HOME,
            ...this.#shownVariables(program),
            PILUM_CHANNEL: `${PLACES.socketDir}/${SOCKET_DIR_FILES.socket}`,
          },
          mounts: {
            ...plan.mounts,
            [PLACES.bootstrap]: seenByEngine(options, await stagedBootstraps()),
            [PLACES.socketDir]: seenByEngine(options, socketDir.directory),
          },
          attached: false,
        };
        const launched = await this.#withNetwork(inside, signal, (whole) =>
          launchWithSocketDir(launchDeps, whole, socketDir, signal),
        );
        return { launched, image };
      });
    } catch (error) {
      await socketDir.discard();
      throw signal.aborted ? startAborted(error) : error;
    }
  }

  /** Launches a container in its network, which is made before where it is relayed. */
  async #withNetwork<T extends Launched | { readonly launched: Launched }>(
    plan: ContainerPlan,
    signal: AbortSignal,
    launch: (plan: ContainerPlan) => Promise<T>,
  ): Promise<T> {
    if (!isRelayed(plan.limits.network)) return await launch(plan);
    const { options, servers, launchDeps } = this.#deps;
    const networks = await options.networks();
    if (networks === null) throw noNetworks();
    const deps = {
      ...launchDeps,
      networks,
      interpreter: await servers.interpreter(),
      seenByEngine: (directory: string) => seenByEngine(options, directory),
    };
    const held = await HeldNetwork.start(deps, plan, await makeSocketDir(options.stagingDirectory), signal);
    try {
      const launched = await launch({ ...plan, networkOf: held.containerId });
      held.tie('launched' in launched ? launched.launched.process : launched.process);
      this.network = held.network;
      return launched;
    } catch (error) {
      await held.remove();
      throw error;
    }
  }

  async #planOf(program: Program, image: ImageFacts): Promise<ContainerPlan> {
    const { options } = this.#deps;
    const { namespace, version, codeDirectory } = this.#runnable;
    const { HOME, LANG } = DEFAULT_ENVIRONMENT;
    const artifact = `${namespace}/${version.artifactId}@${version.version}`;
    return {
      name: `pilum-${version.artifactId}-${version.version}-${this.#instanceId}`,
      labels: await labelsFor(options.workerId, this.#instanceId, artifact),
      image: image.id,
      user: pinOf(this.#runnable).user,
      groups: pinOf(this.#runnable).groups,
      volumes: image.volumes,
      places: version.spec.writable ?? [],
      limits: version.spec.limits,
      ociRuntime: options.ociRuntime,
      limitsSockets: this.#deps.limitsSockets,
      kind: program.kind,
      command: this.#commandOf(program, image),
      workingDirectory: codeDirectory === null ? null : PLACES.code,
      env: { HOME, LANG, ...image.env, ...this.#layerEnvironment(image), ...this.#shownVariables(program) },
      mounts: { ...this.#files(), ...this.#secretMounts(program) },
      attached: true,
    };
  }

  /**
   * Puts secrets where the container will see them: in files, and variables too, which the Engine would keep on its disk and show to whoever may ask it.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`, InstanceError `INSTANCE_START_FAILED`
   */
  async #layOutSecrets(program: Program): Promise<void> {
    const contents = { files: this.#runnable.secrets?.files ?? [], variables: this.#hiddenVariables(program) };
    if (contents.files.length === 0 && Object.keys(contents.variables).length === 0) return;
    const { stagingDirectory, stagingOfEngine } = this.#deps.options;
    if (stagingOfEngine !== null) throw noSharedMemory();
    this.#secretDir = await SecretDir.make(stagingDirectory, pinOf(this.#runnable).user, contents);
  }

  /** The secrets among the variables that a program is launched with. A handler is told its own when it loads. */
  #hiddenVariables({ env }: Program): Record<string, string> {
    const secret = Object.entries(this.#runnable.secrets?.variables ?? {});
    return Object.fromEntries(secret.filter(([name, value]) => env[name] === value));
  }

  #shownVariables(program: Program): Record<string, string> {
    const hidden = this.#hiddenVariables(program);
    return Object.fromEntries(Object.entries(program.env).filter(([name]) => !Object.hasOwn(hidden, name)));
  }

  #commandOf(program: Program, image: ImageFacts): readonly string[] | null {
    const command = program.command(this.#places(image)) ?? image.command;
    if (Object.keys(this.#hiddenVariables(program)).length === 0) return command;
    return [...withVariables(PLACES.variables), ...(command ?? [])];
  }

  #secretMounts(program: Program): Record<string, string> {
    const dir = this.#secretDir;
    if (dir === null) return {};
    const hasVariables = Object.keys(this.#hiddenVariables(program)).length > 0;
    return {
      ...(this.#runnable.secrets?.files.length === 0 ? {} : { [SECRETS_DIRECTORY]: dir.files }),
      ...(hasVariables ? { [PLACES.variables]: dir.variables } : {}),
    };
  }

  /** Removes the secrets with the container. What cannot be removed goes with the worker. */
  #clearAfter(ended: Promise<unknown>): void {
    const dir = this.#secretDir;
    if (dir === null) return;
    this.#deps.launchDeps.inBackground(
      ended
        .then(() => dir.remove())
        .catch((error: unknown) => {
          logEvent(this.#deps.launchDeps.logger, 'secrets-not-removed', { err: error });
        }),
    );
  }

  #places(image: ImageFacts): Places {
    const { codeDirectory, layers } = this.#runnable;
    return {
      node: LANGUAGES.node.interpreterInImage,
      python: LANGUAGES.python.interpreterInImage,
      bootstrapDirectory: PLACES.bootstrap,
      codeDirectory: codeDirectory === null ? null : PLACES.code,
      layers: placeLayers(layers, true),
      environment: image.env,
    };
  }

  /** Returns what `use` makes of the image; tries once more where the Engine has removed it a moment ago. */
  async #withImage<T>(signal: AbortSignal, use: (image: ImageFacts) => Promise<T>): Promise<T> {
    const image = await this.#imageOf(signal);
    try {
      return await use(image);
    } catch (error) {
      if (statusOf(error) !== NO_SUCH_IMAGE || !/no such image/i.test(saidBy(error))) throw error;
      this.#deps.images.forget(image.id);
      return await use(await this.#imageOf(signal));
    }
  }

  async #imageOf(signal: AbortSignal): Promise<ImageFacts> {
    try {
      return await abortable(this.#deps.images.ensure(pinOf(this.#runnable), signal), signal);
    } catch (error) {
      if (signal.aborted) throw startAborted(error);
      throw error;
    }
  }

  /** Code and layers, by where a container finds them. */
  #files(): Record<string, string> {
    const { codeDirectory, layers } = this.#runnable;
    const { options } = this.#deps;
    const code = codeDirectory === null ? {} : { [PLACES.code]: seenByEngine(options, codeDirectory) };
    const others = layers.map(({ id, directory }) => [placeOfLayer(id), seenByEngine(options, directory)]);
    return { ...code, ...Object.fromEntries(others) };
  }

  /** Returns what the layers of a version add to the environment of its image. */
  #layerEnvironment(image: ImageFacts): Record<string, string> {
    const { layers } = this.#runnable;
    if (layers.length === 0) return {};
    const placed = placeLayers(layers, true);
    return { PATH: pathWith(placed, image.env.PATH ?? DEFAULT_ENVIRONMENT.PATH), ...layerVariables(placed) };
  }
}

function noSharedMemory(): InstanceError {
  return new InstanceError('INSTANCE_START_FAILED', {
    message:
      'This worker is in a container itself (PILUM_DOCKER_DATA) and shares no memory with the machine of the Engine: containers get no secrets from it as files, nor commands as variables.',
    hint: 'Run the worker on the machine of the Engine, or take a handler, which has secrets as variables everywhere.',
  });
}

/** Returns what the Engine's machine calls a directory of ours. */
export function seenByEngine(
  { stagingDirectory, stagingOfEngine }: Pick<DockerRuntimeOptions, 'stagingDirectory' | 'stagingOfEngine'>,
  directory: string,
): string {
  return stagingOfEngine === null ? directory : join(stagingOfEngine, relative(stagingDirectory, directory));
}

const noNetworks = () =>
  new RuntimeError('RUNTIME_UNAVAILABLE', {
    message: 'This worker closes no network to a list: it runs functions without a sandbox (PILUM_ISOLATION=none).',
  });

/** Makes the directory of one instance. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
export async function makeSocketDir(stagingDirectory: string): Promise<InstanceSocketDir> {
  try {
    return await InstanceSocketDir.make(stagingDirectory);
  } catch (error) {
    const message = `The directory for an instance could not be made: ${saidBy(error)}.`;
    throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
  }
}

/** Returns the image of a version. @throws InstanceError `INSTANCE_START_FAILED` where it has none */
export function pinOf({ version }: RunnableVersion) {
  if (version.image !== undefined) return version.image;
  const message = `Version ${version.version} of ${version.artifactId} has no image: it was not made ready.`;
  throw new InstanceError('INSTANCE_START_FAILED', { message });
}
