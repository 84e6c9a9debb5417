// @needs redis
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { pingRedis } from '../../apps/up/src/redis-ping.ts';
import { launch } from './launch.ts';
import { makeTemporaryDirectory } from './temporary-directory.ts';
import { waitFor } from './wait-for.ts';

export interface RedisOptions {
  /** Keep an append-only file, so that `kill` and `restart` lose nothing. */
  readonly appendonly?: boolean;
}

/** A real Redis for one test or one file, on a Unix socket in a directory of its own. */
export class TestRedis {
  /** Path of the socket. */
  readonly path: string;
  /** What `connect` of core takes. */
  readonly url: string;
  readonly #directory = makeTemporaryDirectory();
  readonly #options: RedisOptions;
  #child: ChildProcess | undefined;

  constructor(options: RedisOptions) {
    this.#options = options;
    this.path = join(this.#directory, 'redis.sock');
    this.url = `unix://${this.path}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Starts it, or starts it again after {@link kill}, with what its append-only file has. */
  async restart(): Promise<void> {
    await this.kill();
    const settings = {
      port: '0',
      unixsocket: this.path,
      unixsocketperm: '700',
      dir: this.#directory,
      save: '',
      appendonly: this.#options.appendonly ? 'yes' : 'no',
      'maxmemory-policy': 'noeviction',
      loglevel: 'warning',
    };
    const child = launch(
      'redis-server',
      Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#child = child;
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        printed = (printed + chunk).slice(-10_000);
      });
    }
    await waitFor(
      async () => {
        if (child.exitCode !== null) throw new Error(`redis-server ended with exit code ${child.exitCode}: ${printed}`);
        return (await pingRedis(this.path, 1000)) === 'ready';
      },
      { what: 'a Redis that answers', everyMs: 5 },
    );
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** Ends it and removes what it has kept. May be called again. */
  async close(): Promise<void> {
    await this.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Starts a throwaway Redis; `close` it in `afterAll`. */
export async function startRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const redis = new TestRedis(options);
  try {
    await redis.restart();
    return redis;
  } catch (error) {
    await redis.close();
    throw error;
  }
}
