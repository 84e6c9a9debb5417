import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type { BridgeEnd } from '../../protocols/http/bridged-dialer.ts';
import { BRIDGE_FLAGS } from '../../protocols/http/http-program.ts';
import { type ContainerPlan, PLACES } from '../container-plan.ts';
import { type InstanceSocketDir, SOCKET_DIR_FILES } from '../instance-socket-dir.ts';
import { type LaunchDeps, launchWithSocketDir } from '../launch.ts';
import type { Interpreter } from './interpreter.ts';

/** The name, in the directory that the bridge may write into, of the socket that leads to the server. */
const SOCKET = 's';
const REACH = 'reach';
/** The longest address of a Unix socket that the kernel takes, less the byte that ends it. */
const MAX_ADDRESS = 107;

/** A bridge moves bytes and keeps none. */
const LIMITS: ArtifactSpec['limits'] = {
  memoryMiB: 96,
  cpu: 1,
  pids: 8,
  diskMiB: 1,
  outputMiB: 1,
  network: 'none',
};

export interface BridgeDeps extends LaunchDeps {
  readonly interpreter: Interpreter;
  readonly bootstrapDirectory: string;
  /** Returns the name that the Engine's machine has for a directory of ours. */
  readonly seenByEngine: (directory: string) => string;
}

/**
 * The way to a server in a container that has no network: a second container, of the same image, whose network the server's
 * container shares. In it runs nothing of the image, but a Node that was brought along. The bridge takes what comes to a
 * socket in a directory of the worker's to the server's port, and its memory and processes are not the function's.
 */
export class ContainerBridge implements BridgeEnd {
  readonly containerId: string;
  readonly path: string;
  readonly channel: Duplex;
  readonly #end: () => Promise<void>;

  private constructor(containerId: string, path: string, channel: Duplex, end: () => Promise<void>) {
    this.containerId = containerId;
    this.path = path;
    this.channel = channel;
    this.#end = end;
  }

  /**
   * @param of name, labels, image and user of the container that it is for
   * @param exchange becomes the bridge's, which removes it
   * @param port of the server
   * @throws whatever the client throws; nothing is left then
   */
  static async start(
    deps: BridgeDeps,
    of: Pick<ContainerPlan, 'name' | 'labels' | 'image' | 'user' | 'volumes' | 'ociRuntime'>,
    socketDir: InstanceSocketDir,
    port: number,
    signal: AbortSignal,
  ): Promise<ContainerBridge> {
    const { interpreter, bootstrapDirectory, seenByEngine } = deps;
    const dialer = join(socketDir.directory, REACH);
    const path = join(dialer, SOCKET);
    try {
      if (Buffer.byteLength(path) > MAX_ADDRESS) {
        throw new Error(`the path ${path} is too long for a Unix socket: choose a shorter PILUM_DATA`);
      }
      await mkdir(dialer);
      // The user in the container is another one.
      await chmod(dialer, 0o777);
      const plan: ContainerPlan = {
        ...of,
        name: `${of.name}-bridge`,
        kind: 'node',
        command: [
          ...[
            `${PLACES.node}/${interpreter.loader}`,
            '--library-path',
            PLACES.node,
            `${PLACES.node}/${interpreter.node}`,
          ],
          ...BRIDGE_FLAGS,
          `${PLACES.bootstrap}/bridge.mjs`,
          String(port),
          `${PLACES.dialer}/${SOCKET}`,
          `${PLACES.socketDir}/${SOCKET_DIR_FILES.socket}`,
        ],
        workingDirectory: '/',
        env: {},
        mounts: {
          [PLACES.node]: seenByEngine(interpreter.directory),
          [PLACES.bootstrap]: seenByEngine(bootstrapDirectory),
          [PLACES.socketDir]: seenByEngine(socketDir.directory),
        },
        writable: { [PLACES.dialer]: seenByEngine(dialer) },
        places: [],
        limits: LIMITS,
        attached: false,
      };
      const { process, container } = await launchWithSocketDir(deps, plan, socketDir, signal);
      // The bridge prints nothing.
      process.stdout.resume();
      process.stderr.resume();
      if (process.channel === null) throw new Error('a bridge needs a channel');
      const end = async () => {
        process.terminate(0);
        await process.ended;
      };
      return new ContainerBridge(container.id, path, process.channel, end);
    } catch (error) {
      await socketDir.discard();
      throw error;
    }
  }

  remove(): Promise<void> {
    return this.#end();
  }
}
