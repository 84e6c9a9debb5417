// @needs redis
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { processIdentity } from '../../apps/up/setup/process-identity.mjs';
import { launch } from './launch.ts';
import { waitFor } from './wait-for.ts';

const PARTS = fileURLToPath(new URL('../fixtures/parts/', import.meta.url));

export interface UpOptions {
  readonly data: string;
  readonly arguments?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
  /** Fixtures that stand for the API and the worker. */
  readonly api?: string;
  readonly worker?: string;
  /** What is run; `up` where it is not said. */
  readonly runner?: 'run-up.ts' | 'run-dev.ts';
}

/** An `up` in a process of its own, with small fixtures as its parts. It goes with the test. */
export class Up {
  readonly child: ChildProcess;
  readonly data: string;
  readonly ended: Promise<{ code: number | null; signal: string | null }>;
  #text = '';

  constructor({
    data,
    arguments: args = [],
    environment,
    api = 'api.mjs',
    worker = 'part.mjs',
    runner = 'run-up.ts',
  }: UpOptions) {
    this.data = data;
    this.child = launch(
      process.execPath,
      [PARTS + runner, '--data', data, '--port', '0', '--isolation', 'none', ...args],
      {
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
        env: { PATH: process.env.PATH, ...environment, TEST_API: PARTS + api, TEST_WORKER: PARTS + worker },
      },
    );
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#text += text;
      });
    }
    // Not `close`: that never comes when a test has disconnected the channel.
    const read = [this.child.stdout, this.child.stderr].map((stream) => once(stream as Readable, 'close'));
    this.ended = once(this.child, 'exit').then(async ([code, signal]) => {
      await Promise.all(read);
      return { code, signal };
    });
    onTestFinished(async () => {
      const pids = this.pids();
      this.child.kill('SIGKILL');
      await this.ended;
      await waitFor(() => [...pids.values()].every((pid) => !isAlive(pid)), { what: 'the end of all parts' });
    });
  }

  /** All that it has printed. */
  get text(): string {
    return this.#text;
  }

  /** Waits for a text on its screen, the `times`-th one. */
  async shows(pattern: RegExp, times = 1): Promise<RegExpMatchArray> {
    const all = new RegExp(pattern.source, `g${pattern.flags.replace('g', '')}`);
    try {
      return await waitFor(() => [...this.#text.matchAll(all)][times - 1], { what: `${pattern} on the screen` });
    } catch (error) {
      throw new Error(`${(error as Error).message}; the screen has:\n${this.#text}`);
    }
  }

  /** Waits until every part is ready. */
  async isReady(): Promise<void> {
    await this.shows(/Deploy a function and call it/);
  }

  /** The parts that run, by name. */
  pids(): Map<string, number> {
    const run = `${this.data}/run`;
    try {
      return new Map(
        readdirSync(run).map((name) => [name, Number.parseInt(readFileSync(`${run}/${name}`, 'utf8'), 10)]),
      );
    } catch {
      return new Map();
    }
  }

  pid(part: string): number {
    const pid = this.pids().get(part);
    if (pid === undefined) throw new Error(`${part} does not run; the screen has:\n${this.#text}`);
    return pid;
  }
}

export function isAlive(pid: number): boolean {
  return processIdentity(pid) !== undefined;
}
