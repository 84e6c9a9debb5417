// @needs docker
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import Docker from 'dockerode';
import { execa } from 'execa';
import { findProgram } from '../../apps/up/setup/find-program.mjs';
import { engine as machineEngine } from './docker.ts';
import { launch } from './launch.ts';
import { makeTemporaryDirectory } from './temporary-directory.ts';
import { waitFor } from './wait-for.ts';

/** Whether this machine and this user can have an Engine of their own. */
export const canHaveEngine = process.getuid?.() === 0 && findProgram(['dockerd'], process.env.PATH) !== undefined;

/** An Engine that belongs to a test, which may kill it and start it again. */
export class PrivateEngine {
  readonly #directory = makeTemporaryDirectory();
  readonly #docker = new Docker({ socketPath: join(this.#directory, 'd.sock') });
  #process: ChildProcess | null = null;

  get host(): string {
    return `unix://${join(this.#directory, 'd.sock')}`;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Starts it, also where it was killed before. */
  async start(): Promise<void> {
    const at = (name: string) => join(this.#directory, name);
    // What was killed has left its pids, which may be another's by now.
    for (const file of ['d.pid', 'exec/containerd/containerd.pid']) rmSync(at(file), { force: true });
    const places = ['--data-root', at('data'), '--exec-root', at('exec'), '--pidfile', at('d.pid'), '-H', this.host];
    const noNetwork = ['--bridge', 'none', '--iptables=false', '--ip6tables=false'];
    // In a network of its own: without a bridge to make, an Engine removes the one of the machine.
    const command = ['dockerd', ...places, ...noNetwork, '--log-level', 'error'];
    this.#process = launch('unshare', ['--net', ...command]);
    const answers = () =>
      this.#docker.ping().then(
        () => true,
        () => false,
      );
    await waitFor(answers, { what: 'the Engine to answer' });
  }

  /** Gives it an image of the machine's Engine. */
  async load(image: string): Promise<void> {
    const loading = await this.#docker.loadImage(await machineEngine.getImage(image).get());
    await new Promise((resolve, reject) => {
      this.#docker.modem.followProgress(loading, (error) => (error ? reject(error) : resolve(null)));
    });
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Ends it with all of its containers. */
  async close(): Promise<void> {
    await this.#end('SIGTERM');
    // One that was killed has left what it had mounted.
    const mounted = readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[1] ?? '')
      .filter((path) => path.startsWith(this.#directory));
    for (const path of mounted.reverse()) await execa('umount', ['-l', path], { reject: false });
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }
}
