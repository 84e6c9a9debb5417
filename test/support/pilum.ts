// @needs bubblewrap
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Envelope } from '@pilum/core/schemas/task.ts';
import { freePort } from './free-port.ts';
import { launchModule } from './launch.ts';
import { startRedis, type TestRedis } from './redis.ts';

/** The tree whose processes are started where a test names no other. */
const THIS_TREE = fileURLToPath(new URL('../..', import.meta.url));

/** One real process of Pilum. */
export interface TestProcess {
  readonly pid: number;
  /** What it has printed so far. */
  output(): string;
  signal(name: NodeJS.Signals): void;
  /** Resolves with exit code or signal when it has ended. */
  ended: Promise<number | string>;
}

/** A whole Pilum on a Redis of its own: real processes, real HTTP. */
export interface TestPilum {
  readonly redis: TestRedis;
  readonly url: string;
  /** What its workers keep on disk. */
  readonly dataDirectory: string;
  readonly api: TestProcess;
  readonly workers: TestProcess[];
  /** @param tree where its sources are, for another release than this one */
  addWorker(env?: Record<string, string>, tree?: string): Promise<TestProcess>;
  restartApi(): Promise<void>;
  /**
   * One more API; gives its process and its URL.
   * @param tree where its sources are, for another release than this one
   */
  addApi(tree?: string): Promise<{ process: TestProcess; url: string }>;
  /** Any call; a body that is no string or bytes goes as JSON. */
  call(method: string, path: string, options?: { body?: unknown; headers?: Record<string, string> }): Promise<Answer>;
  /** Deploys an artifact, of the process runtime where it says no other, and fails the test where that fails. */
  deploy(id: string, spec: Record<string, unknown>): Promise<void>;
  invoke(reference: string, event: unknown, query?: string): Promise<{ status: number; body: Envelope }>;
  close(): Promise<void>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
  readonly json: any;
}

async function startProcess(
  app: string,
  env: Record<string, string>,
  tree: string,
  onLaunch: (started: TestProcess) => void,
): Promise<TestProcess> {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PILUM_')));
  const child = launchModule(join(tree, 'apps', app, 'src/main.ts'), [], {
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let printed = '';
  const keep = (chunk: Buffer) => {
    printed = (printed + chunk.toString()).slice(-200_000);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const ended = once(child, 'exit').then(([code, signal]: (number | string)[]) => code ?? signal ?? 'unknown');
  const started: TestProcess = {
    pid: child.pid ?? 0,
    output: () => printed,
    signal: (name) => child.kill(name),
    ended,
  };
  onLaunch(started);
  const ready = once(child, 'message');
  const first = await Promise.race([ready.then(() => null), ended]);
  if (first !== null) throw new Error(`${app} ended with ${first} before it was ready:\n${printed}`);
  return started;
}

/** Starts Redis, one API and so many workers. */
export async function startPilum(
  options: {
    workers?: number;
    env?: Record<string, string>;
    appendonly?: boolean;
    /** Makes a user of Redis for each kind of process; returns the URLs. */
    usersOf?: (redis: TestRedis) => Promise<{ api: string; worker: string }>;
  } = {},
): Promise<TestPilum> {
  const redis = await startRedis({ appendonly: options.appendonly ?? false });
  const urls = await options.usersOf?.(redis);
  const data = await mkdtemp(join(tmpdir(), 'd-'));
  // Passable, so that sandboxes of a root worker find their code in it and nothing is left elsewhere.
  await chmod(data, 0o711);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    PILUM_REDIS_URL: redis.url,
    PILUM_PORT: String(port),
    PILUM_DATA: data,
    PILUM_LOG_LEVEL: 'warn',
    // Tests deploy what does not load, and count instances that nobody else has started.
    PILUM_DEPLOY_CHECK: 'false',
    // Looking for others costs each worker a start of each.
    PILUM_INTERPRETERS: 'none',
    ...options.env,
  };
  const workers: TestProcess[] = [];
  /** Whatever was launched, also where it was never ready. */
  const launched: TestProcess[] = [];
  let api: TestProcess;
  let workerCount = 0;
  const start = (app: 'api' | 'worker', vars: Record<string, string>, tree = THIS_TREE) => {
    const own: Record<string, string> = urls === undefined ? { ...vars } : { ...vars, PILUM_REDIS_URL: urls[app] };
    // The release before does not know it, and would not start.
    if (tree !== THIS_TREE) delete own.PILUM_INTERPRETERS;
    return startProcess(app, own, tree, (part) => launched.push(part));
  };
  const addWorker = async (more: Record<string, string> = {}, tree?: string) => {
    const worker = await start('worker', { ...env, PILUM_WORKER_ID: `worker-${++workerCount}`, ...more }, tree);
    workers.push(worker);
    return worker;
  };
  const close = async () => {
    for (const part of launched) part.signal('SIGTERM');
    const limit = setTimeout(() => {
      for (const part of launched) part.signal('SIGKILL');
    }, 60_000);
    await Promise.all(launched.map((part) => part.ended));
    clearTimeout(limit);
    await redis.close();
    await rm(data, { recursive: true, force: true });
  };
  const call: TestPilum['call'] = async (method, path, { body, headers = {} } = {}) => {
    const raw = typeof body === 'string' || body instanceof Uint8Array;
    const answer = await fetch(url + path, {
      method,
      headers: { ...(body === undefined || raw ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: (raw ? body : JSON.stringify(body)) as string }),
    });
    const text = await answer.text();
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {}
    return { status: answer.status, headers: answer.headers, text, json };
  };
  try {
    api = await start('api', env);
    for (let i = 0; i < (options.workers ?? 1); i++) await addWorker();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    redis,
    url,
    dataDirectory: data,
    get api() {
      return api;
    },
    workers,
    addWorker,
    addApi: async (tree) => {
      const other = await freePort();
      const started = await start('api', { ...env, PILUM_PORT: String(other) }, tree);
      return { process: started, url: `http://127.0.0.1:${other}` };
    },
    restartApi: async () => {
      api = await start('api', env);
    },
    call,
    deploy: async (id, spec) => {
      const { status, text } = await call('PUT', `/v1/artifacts/${id}`, { body: { runtime: 'process', ...spec } });
      if (status !== 201 && status !== 200) throw new Error(`deploy of ${id}: ${status} ${text}`);
    },
    invoke: async (reference, event, query = '') => {
      const answer = await call('POST', `/v1/artifacts/${reference}/invoke${query}`, { body: event });
      return { status: answer.status, body: answer.json as Envelope };
    },
    close,
  };
}
