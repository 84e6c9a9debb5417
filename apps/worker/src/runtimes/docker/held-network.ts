import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type { ContainerNetworks, InstanceNetwork, LeasedNetwork } from '../contract/instance-network.ts';
import type { LaunchedProcess } from '../contract/launched-process.ts';
import { type ContainerPlan, PLACES } from './container-plan.ts';
import type { Interpreter } from './http/interpreter.ts';
import { type InstanceSocketDir, SOCKET_DIR_FILES } from './instance-socket-dir.ts';
import { type LaunchDeps, launchWithSocketDir } from './launch.ts';

const SOCKET = 's';
const REACH = 'reach';
/** The longest address of a Unix socket that the kernel takes, less the byte that ends it. */
const MAX_ADDRESS = 107;

/** A holder moves bytes and keeps none. */
const LIMITS: ArtifactSpec['limits'] = {
  memoryMiB: 128,
  cpu: 1,
  pids: 16,
  diskMiB: 1,
  outputMiB: 1,
  network: 'none',
};

export interface HeldNetworkDeps extends LaunchDeps {
  readonly networks: ContainerNetworks;
  readonly interpreter: Interpreter;
  /** Returns the name that the Engine's machine has for a directory of ours. */
  readonly seenByEngine: (directory: string) => string;
}

/**
 * The relayed network of a container: a second container, of the same image, has made it, and the first one shares it. In the second one runs
 * nothing of the image, but a Node that was brought along; it alone has rights over the network.
 */
export class HeldNetwork {
  readonly containerId: string;
  readonly network: InstanceNetwork;
  readonly #lease: LeasedNetwork;
  readonly #process: LaunchedProcess;

  private constructor(containerId: string, lease: LeasedNetwork, process: LaunchedProcess) {
    this.containerId = containerId;
    this.network = lease;
    this.#lease = lease;
    this.#process = process;
  }

  /**
   * Makes a network that is open as a version says.
   * @param of the plan of the container that it is for
   * @param socketDir becomes the holder's, which removes it
   * @throws whatever the client throws; RuntimeError `RUNTIME_UNAVAILABLE`; nothing is left then
   */
  static async start(
    deps: HeldNetworkDeps,
    of: ContainerPlan,
    socketDir: InstanceSocketDir,
    signal: AbortSignal,
  ): Promise<HeldNetwork> {
    const { networks, interpreter, seenByEngine } = deps;
    const reach = join(socketDir.directory, REACH);
    const path = join(reach, SOCKET);
    let lease: LeasedNetwork | null = null;
    try {
      if (Buffer.byteLength(path) > MAX_ADDRESS) {
        throw new Error(`the path ${path} is too long for a Unix socket: choose a shorter PILUM_DATA`);
      }
      const holder = await networks.holder();
      await mkdir(reach);
      // The relay is another user, and its socket is open to all who get there.
      await chmod(reach, 0o777);
      lease = await networks.leaseAt(path);
      await lease.open(of.limits.network);
      const node = [`${PLACES.node}/${interpreter.loader}`, '--library-path', PLACES.node];
      const plan: ContainerPlan = {
        name: `${of.name}-network`,
        labels: of.labels,
        image: of.image,
        // Rights over a network are root's, and it has no others.
        user: '0:0',
        volumes: of.volumes ?? [],
        ociRuntime: of.ociRuntime,
        kind: 'node',
        command: [
          ...node,
          `${PLACES.node}/${interpreter.node}`,
          '--disable-warning=ExperimentalWarning',
          `${PLACES.bootstrap}/${holder.program.main}`,
          `${PLACES.dialer}/${SOCKET}`,
          `${PLACES.socketDir}/${SOCKET_DIR_FILES.socket}`,
          holder.rulesFor(of.limits.network),
          ...[`${PLACES.tools}/${holder.tools.loader}`, '--library-path', PLACES.tools],
        ],
        workingDirectory: '/',
        env: {},
        mounts: {
          [PLACES.node]: seenByEngine(interpreter.directory),
          [PLACES.bootstrap]: seenByEngine(holder.program.directory),
          [PLACES.tools]: seenByEngine(holder.tools.directory),
          [PLACES.socketDir]: seenByEngine(socketDir.directory),
          [PLACES.dialer]: seenByEngine(reach),
        },
        places: [],
        limits: LIMITS,
        attached: false,
        makesNetwork: true,
      };
      const { process, container } = await launchWithSocketDir(deps, plan, socketDir, signal);
      for (const output of [process.stdout, process.stderr]) output.resume();
      return new HeldNetwork(container.id, lease, process);
    } catch (error) {
      lease?.release();
      await socketDir.discard();
      throw error;
    }
  }

  /** Goes with a program: each ends with the other. */
  tie(program: LaunchedProcess): void {
    this.#lease.onLost(() => program.terminate(0));
    let isOver = false;
    void this.#process.ended.then(() => {
      if (!isOver) program.terminate(0);
    });
    void program.ended.then(() => {
      isOver = true;
      void this.remove();
    });
  }

  /** Ends it and waits. May be awaited twice. */
  async remove(): Promise<void> {
    this.#lease.release();
    this.#process.terminate(0);
    await this.#process.ended;
  }
}
