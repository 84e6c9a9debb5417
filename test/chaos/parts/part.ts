import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { launchModule } from '../../support/launch.ts';

const mainOf = (app: string) => fileURLToPath(new URL(`../../../apps/${app}/src/main.ts`, import.meta.url));

export interface PartOptions {
  readonly app: 'api' | 'worker';
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  /** Options of Node. */
  readonly execArgv: readonly string[];
  /** Is told every line that the process prints. */
  readonly onLine: (name: string, line: string) => void;
  readonly onEnd: (part: Part, how: string) => void;
}

/** One process of Pilum, as an operator would start it. */
export class Part {
  readonly name: string;
  readonly #child: ChildProcess;
  #asked: 'kill' | 'stop' | null = null;
  /** Resolves with exit code or signal. */
  readonly ended: Promise<string>;

  constructor({ app, name, env, execArgv, onLine, onEnd }: PartOptions) {
    this.name = name;
    const inherited = Object.entries(process.env).filter(([key]) => !/^(PILUM_|NODE_OPTIONS$|VITEST)/.test(key));
    this.#child = launchModule(mainOf(app), [], {
      env: { ...Object.fromEntries(inherited), ...env },
      execArgv: [...execArgv],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      createInterface({ input: stream as Readable }).on('line', (line) => onLine(name, line));
    }
    this.ended = once(this.#child, 'exit').then(([code, signal]) => {
      const how = String(code ?? signal);
      onEnd(this, how);
      return how;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What was asked of it, if it is to end. */
  get asked(): 'kill' | 'stop' | null {
    return this.#asked;
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /**
   * Resolves when it does what it is for.
   * @throws Error where it ends first
   */
  async ready(): Promise<void> {
    const ready = once(this.#child, 'message').then(() => null);
    const first = await Promise.race([ready, this.ended]);
    if (first !== null) throw new Error(`${this.name} ended with ${first} before it was ready`);
  }

  /** A signal that it goes on after. */
  signal(name: 'SIGSTOP' | 'SIGCONT' | 'SIGUSR1'): void {
    this.#child.kill(name);
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#asked = 'kill';
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /**
   * SIGTERM, and SIGKILL for one that has not ended within the time.
   * @param withinMs how long it may take, ms
   */
  async stop(withinMs: number): Promise<void> {
    if (this.hasEnded) return;
    this.#asked = 'stop';
    this.#child.kill('SIGTERM');
    const limit = setTimeout(() => this.#child.kill('SIGKILL'), withinMs);
    await this.ended;
    clearTimeout(limit);
  }
}
