import { join, relative } from 'node:path';
import { abortable } from '@pilum/core/async/abortable.ts';
import { InstanceError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { LANGUAGES } from '@pilum/core/spec/languages.ts';
import { layerVariables, pathWith, placeLayers, placeOfLayer } from '../contract/layers.ts';
import type { Places, Program } from '../contract/program.ts';
import type { Launched as LaunchedProgram, LaunchedServer, ProgramHost, ServerProgram } from '../contract/protocol.ts';
import type { RunnableVersion } from '../contract/runtime.ts';
import { startAborted } from '../contract/runtime-base.ts';
import { PORT_IN_SANDBOX } from '../protocols/http/bridged-dialer.ts';
import type { Container } from './container.ts';
import { type ContainerPlan, PLACES } from './container-plan.ts';
import { saidBy, statusOf } from './engine.ts';
import type { Servers } from './http/servers.ts';
import type { ImageFacts, Images } from './images/images.ts';
import { InstanceSocketDir, SOCKET_DIR_FILES } from './instance-socket-dir.ts';
import { labelsFor } from './labels.ts';
import { type LaunchDeps, type Launched, launchAttached, launchWithSocketDir } from './launch.ts';
import type { DockerRuntimeOptions } from './options.ts';
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
}

/** Launches the programs of one instance, each in a container. */
export class DockerHost implements ProgramHost {
  /** The container of what was launched last; null where nothing was. */
  container: Container | null = null;
  readonly #deps: DockerHostDeps;
  readonly #runnable: RunnableVersion;
  readonly #instanceId: string;

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
      const { launched, image } = program.channel
        ? await this.#launchWithChannel(program, signal)
        : await this.#withImage(signal, async (image) => {
            const plan = await this.#planOf(program, image);
            return { launched: await launchAttached(this.#deps.launchDeps, plan, signal), image };
          });
      this.container = launched.container;
      const environment = { ...DEFAULT_ENVIRONMENT, ...image.env, ...this.#layerEnvironment(image) };
      return { process: launched.process, places: this.#places(image), environment };
    } catch (error) {
      throw startFailure(error, this.#deps.options.host);
    }
  }

  async launchServer({ program, port }: ServerProgram, signal: AbortSignal): Promise<LaunchedServer> {
    try {
      const { launched, dialer } = await this.#withImage(signal, async (image) => {
        const plan = { ...(await this.#planOf(program(PORT_IN_SANDBOX), image)), attached: false };
        const withPort = (given: number) => ({ ...plan, env: { ...plan.env, ...program(given).env } });
        return await this.#deps.servers.launch(withPort, port, image, signal);
      });
      this.container = launched.container;
      return { process: launched.process, dialer };
    } catch (error) {
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
            ...program.env,
            PILUM_CHANNEL: `${PLACES.socketDir}/${SOCKET_DIR_FILES.socket}`,
          },
          mounts: {
            ...plan.mounts,
            [PLACES.bootstrap]: seenByEngine(options, await stagedBootstraps()),
            [PLACES.socketDir]: seenByEngine(options, socketDir.directory),
          },
          attached: false,
        };
        return { launched: await launchWithSocketDir(launchDeps, inside, socketDir, signal), image };
      });
    } catch (error) {
      await socketDir.discard();
      throw signal.aborted ? startAborted(error) : error;
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
      kind: program.kind,
      command: program.command(this.#places(image)) ?? image.command,
      workingDirectory: codeDirectory === null ? null : PLACES.code,
      env: { HOME, LANG, ...image.env, ...this.#layerEnvironment(image), ...program.env },
      mounts: this.#files(),
      attached: true,
    };
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

/** Returns what the Engine's machine calls a directory of ours. */
export function seenByEngine(
  { stagingDirectory, stagingOfEngine }: Pick<DockerRuntimeOptions, 'stagingDirectory' | 'stagingOfEngine'>,
  directory: string,
): string {
  return stagingOfEngine === null ? directory : join(stagingOfEngine, relative(stagingDirectory, directory));
}

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
