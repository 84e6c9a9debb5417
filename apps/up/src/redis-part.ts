import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readVariable } from '@pilum/core/config/read-configuration.ts';
import { findProgram } from '../setup/find-program.mjs';
import { Refusal } from '../setup/refusal.mjs';
import { type DataDirectory, makePrivate } from './data-directory.ts';
import type { Part, PartRun } from './part.ts';
import { PartProcess } from './part-process.ts';
import { pingRedis } from './redis-ping.ts';

/** Interval at which a starting Redis is asked whether it is ready, ms. */
const ASK_MS = 10;
/** Redis writes its append-only file out when it is told to stop. */
const GRACE_MS = 10_000;

/** The kernel sends this when the process that started it ends. */
const TIE = ['--pdeathsig', 'TERM'];

/** Pilum's levels as Redis names them. */
const LOG_LEVELS: Readonly<Record<string, string>> = { trace: 'debug', debug: 'verbose', info: 'notice' };

export interface RedisPartOptions {
  readonly data: DataDirectory;
  readonly environment: NodeJS.ProcessEnv;
  readonly logLevel: string;
  readonly onLine: (line: string) => void;
  /** Called once for each run that has to read a large file before it is ready. */
  readonly onLoading: () => void;
}

/**
 * A Redis of our own: on a Unix socket that only its user may open, and keeping what it accepts.
 *
 * It has no channel by which it would hear of our end. Where there is `setpriv` (Linux) the kernel tells it; and the
 * next `up` stops one that is recorded as running before it starts another.
 */
export class RedisPart implements Part {
  readonly name = 'redis';
  readonly graceMs = GRACE_MS;
  readonly url: string;
  readonly #options: RedisPartOptions;
  readonly #program: string;
  readonly #setpriv: string | undefined;
  readonly #memoryMiB: number;

  constructor(options: RedisPartOptions) {
    this.#options = options;
    const program = findProgram(['redis-server', 'valkey-server'], options.environment.PATH);
    if (program === undefined) {
      throw new Refusal('redis-server is not on PATH: install it, or use another Redis with --redis URL.');
    }
    this.#program = program;
    try {
      this.#memoryMiB = readVariable(options.environment, 'REDIS_MEMORY_MIB');
    } catch (error) {
      throw new Refusal((error as Error).message);
    }
    const setpriv = findProgram(['setpriv'], options.environment.PATH);
    this.#setpriv = setpriv !== undefined && canTieToUs(setpriv) ? setpriv : undefined;
    makePrivate(dirname(options.data.redisSocket));
    this.url = `unix://${options.data.redisSocket.split('/').map(encodeURIComponent).join('/')}`;
  }

  get address(): string {
    return this.url;
  }

  launch(): PartRun {
    const { data, environment, logLevel, onLine } = this.#options;
    const command = [this.#program, ...this.#settings()];
    if (this.#setpriv !== undefined) command.unshift(this.#setpriv, ...TIE);
    const talkative = logLevel in LOG_LEVELS;
    const recent: string[] = [];
    // Redis greets and says good-bye at its highest level. That is worth the screen only where it fails to start.
    let usable = false;
    const process = new PartProcess({
      command: command[0] as string,
      args: command.slice(1),
      env: environment,
      ipc: false,
      onLine: (line) => {
        if (talkative || (usable && !process.stopping && line.includes(' # '))) onLine(line);
        else if (!usable && line !== '') recent.push(line);
      },
      record: data.recordOf(this.name),
    });
    void process.ended.then(() => {
      if (!usable) for (const line of recent.slice(-10)) onLine(line);
    });
    const ready = this.#waitUntilReady(process).then(() => {
      usable = true;
      recent.length = 0;
    });
    return { process, ready };
  }

  #settings(): string[] {
    const { data, logLevel } = this.#options;
    const settings: Readonly<Record<string, string>> = {
      port: '0',
      unixsocket: data.redisSocket,
      unixsocketperm: '700',
      dir: data.redis,
      appendonly: 'yes',
      appendfsync: 'everysec',
      // The append-only file is what is kept; a snapshot beside it would only cost.
      save: '',
      // A full Redis must refuse a task, never forget one; and it must do so before the machine has no memory left.
      maxmemory: `${this.#memoryMiB}mb`,
      'maxmemory-policy': 'noeviction',
      daemonize: 'no',
      loglevel: LOG_LEVELS[logLevel] ?? 'warning',
    };
    return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  }

  /** There is no deadline: a large file takes its time, and a Redis that cannot start ends. */
  async #waitUntilReady(process: PartProcess): Promise<void> {
    const over = new AbortController();
    void process.ended.then(() => over.abort());
    let loading = false;
    for (;;) {
      const state = await pingRedis(this.#options.data.redisSocket, 1000);
      if (over.signal.aborted) return new Promise(() => {});
      if (state === 'ready') return;
      if (state === 'loading' && !loading) {
        loading = true;
        this.#options.onLoading();
      }
      await sleep(ASK_MS);
    }
  }
}

/** Busybox has a smaller setpriv. */
function canTieToUs(setpriv: string): boolean {
  return spawnSync(setpriv, [...TIE, 'true'], { stdio: 'ignore' }).status === 0;
}
