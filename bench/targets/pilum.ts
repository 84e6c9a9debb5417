import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { freePort } from '../../test/support/free-port.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { type BenchProcess, startProcess } from '../support/bench-process.ts';
import { type BenchRedis, startRedis } from '../support/bench-redis.ts';
import { makeDirectory } from '../support/directory.ts';
import type { Scope } from '../support/scope.ts';
import type { Target } from './target.ts';

/** The checkout that this bench is part of. */
export const OWN_ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Tasks that one worker runs at once where nothing else is said. */
export const USUAL_CAPACITY = 16;

/** Options of a Pilum that is not started as usual. */
export interface PilumOptions {
  readonly workers?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Directory of the checkout whose programs are run; this one by default. */
  readonly root?: string;
}

/** A whole Pilum: its own Redis, one API, so many workers. As anyone would start it, but for what `env` says. */
export class Pilum {
  readonly url: string;
  readonly redis: BenchRedis;
  readonly workers: BenchProcess[] = [];
  readonly #scope: Scope;
  readonly #root: string;
  readonly #env: Readonly<Record<string, string>>;
  #api: BenchProcess | undefined;

  private constructor(
    scope: Scope,
    redis: BenchRedis,
    port: number,
    root: string,
    env: Readonly<Record<string, string>>,
  ) {
    this.#scope = scope;
    this.#root = root;
    this.redis = redis;
    this.url = `http://127.0.0.1:${port}`;
    this.#env = env;
  }

  static async start(scope: Scope, { workers = 1, env = {}, root = OWN_ROOT }: PilumOptions = {}): Promise<Pilum> {
    const redis = await startRedis(scope);
    const port = await freePort();
    const pilum = new Pilum(scope, redis, port, root, {
      PILUM_REDIS_URL: redis.url,
      PILUM_PORT: String(port),
      PILUM_DATA: await makeDirectory(scope),
      PILUM_LOG_LEVEL: 'warn',
      // First calls are to be cold where they are measured.
      ...(knowsSetting(root, 'PILUM_DEPLOY_CHECK') ? { PILUM_DEPLOY_CHECK: 'false' } : {}),
      ...env,
    });
    pilum.#api = await startProcess(scope, { name: "Pilum's API", module: pilum.#main('api'), env: pilum.#env });
    while (pilum.workers.length < workers) await pilum.addWorker();
    return pilum;
  }

  #main(app: 'api' | 'worker'): URL {
    return pathToFileURL(join(this.#root, 'apps', app, 'src/main.ts'));
  }

  get api(): BenchProcess {
    if (this.#api === undefined) throw new Error('the API is not started yet');
    return this.#api;
  }

  async addWorker(): Promise<BenchProcess> {
    const id = `worker-${this.workers.length + 1}`;
    const env = { ...this.#env, PILUM_WORKER_ID: id };
    const worker = await startProcess(this.#scope, { name: `Pilum's ${id}`, module: this.#main('worker'), env });
    this.workers.push(worker);
    return worker;
  }

  /**
   * Calls the API with a JSON body.
   * @throws Error where the answer is none of success
   */
  // biome-ignore lint/suspicious/noExplicitAny: answers have many shapes, and each reader knows its own
  async call(method: string, path: string, body?: unknown): Promise<any> {
    const answer = await fetch(this.url + path, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 300)}`);
    return JSON.parse(text);
  }

  /** Deploys a Node handler, and waits until as many instances are warm as each worker is to keep. */
  async deploy(
    artifactId: string,
    code: string,
    pool: Readonly<Record<string, number>> = {},
    limits: Readonly<Record<string, number>> = {},
  ): Promise<void> {
    await this.deploySpec(artifactId, { runtime: 'process', code: { inline: code }, pool, limits });
  }

  /** The same of a WebAssembly module. */
  async deployModule(
    artifactId: string,
    module: Buffer,
    spec: Readonly<{ entry?: string; pool?: Record<string, number> }> = {},
  ) {
    const digest = `sha256:${createHash('sha256').update(module).digest('hex')}`;
    const headers = { 'content-type': 'application/octet-stream' };
    const answer = await fetch(`${this.url}/v1/blobs/${digest}`, {
      method: 'PUT',
      headers,
      body: new Uint8Array(module),
    });
    if (!answer.ok) throw new Error(`PUT of a module: ${answer.status} ${await answer.text()}`);
    await this.deploySpec(artifactId, { runtime: 'wasm', code: { digest }, ...spec });
  }

  /** Deploys a spec, and waits until as many instances are warm as each worker is to keep. */
  async deploySpec(artifactId: string, spec: ArtifactSpecInput): Promise<void> {
    await this.call('PUT', `/v1/artifacts/${artifactId}`, spec);
    const { pool = {} } = spec;
    const wanted = (pool.min ?? 0) * this.workers.length;
    if (wanted === 0) return;
    const isWarm = async () => {
      const { instances } = await this.call('GET', '/v1/instances');
      const ready = instances.filter(
        (instance: { artifactId: string; state: string }) =>
          instance.artifactId === artifactId && instance.state === 'ready',
      );
      return ready.length >= wanted;
    };
    await waitFor(isWarm, { what: `${wanted} warm instances of ${artifactId}`, timeoutMs: 60_000, everyMs: 100 });
  }

  /** The calls of an artifact, as something that can be measured. */
  target(
    artifactId: string,
    { mode = 'sync', name = 'pilum' }: { mode?: 'sync' | 'async'; name?: string } = {},
  ): Target {
    const pids = [this.api, ...this.workers, this.redis].map(({ pid }) => pid);
    const url = `${this.url}/v1/artifacts/${artifactId}/invoke${mode === 'sync' ? '' : '?mode=async'}`;
    return { name, url, status: mode === 'sync' ? 200 : 202, pids };
  }

  /** Every settled task of an artifact that Redis still holds, newest first. */
  async tasks(artifactId: string): Promise<SettledTask[]> {
    const found: SettledTask[] = [];
    for (let before: string | null = ''; before !== null; ) {
      const filter = `artifact=${artifactId}&status=completed&limit=100${before === '' ? '' : `&before=${before}`}`;
      const page: { tasks: SettledTask[]; next: string | null } = await this.call('GET', `/v1/tasks?${filter}`);
      found.push(...page.tasks);
      before = page.next;
    }
    return found;
  }
}

/** Whether a checkout knows a setting: one that it does not know would keep its programs from starting. */
function knowsSetting(root: string, name: string): boolean {
  return readFileSync(join(root, 'docs/configuration.md'), 'utf8').includes(`\`${name}\``);
}

/** The part of a settled task's envelope that is read. */
export interface SettledTask {
  readonly workerId: string;
  readonly instanceId: string;
  readonly recoveries: number;
  readonly createdAt: string;
  readonly finishedAt: string;
  readonly timing: { readonly queuedMs: number; readonly coldStart: boolean };
}
