import { createWriteStream, type WriteStream } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../support/free-port.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import type { History } from '../history/history.ts';
import { Part } from './part.ts';
import { RedisProxy } from './redis-proxy.ts';
import { statementOf } from './statements.ts';

/** A part that is asked to stop and has not after so long is killed, ms: longer than Pilum's own limits together. */
const STOP_LIMIT_MS = 15_000;
/** What every call needs: some functions have the network of the machine. */
export const API_KEY = 'a-key-of-the-chaos-run';
/** Short, so that a rolling restart interrupts the longest tasks. */
const DRAIN_MS = 2000;

export interface ClusterOptions {
  /** Where everything of this run is kept. */
  readonly directory: string;
  readonly history: History;
  readonly apis: number;
  readonly workers: number;
  /** Options of Node for the workers. */
  readonly workerExecArgv?: readonly string[];
  /** All workers keep their data in one directory, as on one machine, and not each in its own, as on several. */
  readonly sharesData?: boolean;
}

/** One place for a process: when one ends, another takes its place. */
export interface Place {
  readonly app: 'api' | 'worker';
  readonly number: number;
  readonly env: Readonly<Record<string, string>>;
  /** How many processes have been in it. */
  generation: number;
  part: Part | undefined;
  /** A fault is at it: no other may be. */
  isHit: boolean;
}

/** A place with a worker in it. */
export interface WorkerPlace extends Place {
  readonly inspectorPort: number;
}

/**
 * A whole Pilum with a Redis of its own behind a proxy. It does what a supervisor does: a process that ends without being
 * asked to is started again.
 */
export class Cluster {
  readonly redis: TestRedis;
  readonly proxy: RedisProxy;
  readonly apis: readonly Place[];
  readonly workers: readonly WorkerPlace[];
  readonly #history: History;
  readonly #workerExecArgv: readonly string[];
  readonly #output: WriteStream;
  #closing: Promise<void> | undefined;

  private constructor(
    { history, workerExecArgv = [], directory }: ClusterOptions,
    parts: Pick<Cluster, 'redis' | 'proxy' | 'apis' | 'workers'>,
  ) {
    this.redis = parts.redis;
    this.proxy = parts.proxy;
    this.apis = parts.apis;
    this.workers = parts.workers;
    this.#history = history;
    this.#workerExecArgv = workerExecArgv;
    this.#output = createWriteStream(join(directory, 'parts.log'));
  }

  /**
   * Starts all parts.
   * @throws Error where one does not start; then none is left
   */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const redis = await startRedis({ appendonly: true });
    const proxy = await RedisProxy.open(redis.path);
    const env = {
      PILUM_REDIS_URL: proxy.url,
      PILUM_LOG_LEVEL: 'info',
      PILUM_ALLOW_HOST_NETWORK: 'true',
      PILUM_API_KEY: API_KEY,
      // What is deployed is to be there also where every worker is down at that moment.
      PILUM_DEPLOY_CHECK: 'false',
      PILUM_DRAIN_MS: String(DRAIN_MS),
      PILUM_WORKER_CAPACITY: '12',
      // Every outcome is read again at the end.
      PILUM_TASK_RETENTION_COUNT: '10000000',
    };
    const place = (app: 'api' | 'worker', number: number, more: Record<string, string>): Place => ({
      app,
      number,
      env: { ...env, ...more },
      generation: 0,
      part: undefined,
      isHit: false,
    });
    const apis: Place[] = [];
    const workers: WorkerPlace[] = [];
    for (let i = 0; i < options.apis; i++) {
      const PILUM_DATA = await dataDirectory(options.directory, 'data-api');
      apis.push(place('api', i + 1, { PILUM_DATA, PILUM_PORT: String(await freePort()) }));
    }
    for (let i = 0; i < options.workers; i++) {
      const PILUM_DATA = await dataDirectory(options.directory, options.sharesData ? 'data' : `data-${i + 1}`);
      workers.push({ ...place('worker', i + 1, { PILUM_DATA }), inspectorPort: await freePort() });
    }
    const cluster = new Cluster(options, { redis, proxy, apis, workers });
    try {
      await Promise.all([...apis, ...workers].map((each) => cluster.startIn(each)));
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** Ports that the API processes listen on. */
  get ports(): number[] {
    return this.apis.map(({ env }) => Number(env.PILUM_PORT));
  }

  /** Starts a process in a place that is empty; resolves when it is ready. */
  async startIn(place: Place): Promise<void> {
    if (this.#closing !== undefined) return;
    const name = `${place.app}-${place.number}-${++place.generation}`;
    const isWorker = place.app === 'worker';
    const part = new Part({
      app: place.app,
      name,
      env: isWorker ? { ...place.env, PILUM_WORKER_ID: name } : place.env,
      execArgv: isWorker ? [...this.#workerExecArgv, `--inspect-port=${(place as WorkerPlace).inspectorPort}`] : [],
      onLine: (from, line) => this.#hear(from, line),
      onEnd: (ended, how) => this.#afterEnd(place, ended, how),
    });
    place.part = part;
    await part.ready();
  }

  /** Asks a process to stop, as an operator does, and starts another in its place. */
  async restart(place: Place): Promise<void> {
    await place.part?.stop(STOP_LIMIT_MS);
    await this.startIn(place);
  }

  /** Starts Redis again on what its append-only file has. */
  async restartRedis(): Promise<void> {
    if (this.#closing === undefined) await this.redis.restart();
  }

  /** Ends everything. May be awaited twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A part that is stopped could not end in good order.
    for (const { part } of this.workers) part?.signal('SIGCONT');
    await Promise.all([...this.workers, ...this.apis].map(({ part }) => part?.stop(STOP_LIMIT_MS)));
    this.proxy.close();
    await this.redis.close();
    this.#output.end();
  }

  #hear(from: string, line: string): void {
    this.#output.write(`${from} ${line}\n`);
    const said = statementOf(from, line);
    if (said !== null) this.#history.write(said);
  }

  #afterEnd(place: Place, part: Part, how: string): void {
    this.#history.write({ type: 'exit', at: Date.now(), part: part.name, how, asked: part.asked });
    if (part.asked !== null || this.#closing !== undefined || place.part !== part) return;
    this.startIn(place).catch((error: Error) => this.#output.write(`${part.name} ${error.message}\n`));
  }
}

/** Makes a directory that is passable, so that sandboxes of a root worker find their code in it. */
async function dataDirectory(directory: string, name: string): Promise<string> {
  const data = join(directory, name);
  await mkdir(data, { recursive: true });
  for (const passable of [directory, data]) await chmod(passable, 0o711);
  return data;
}
