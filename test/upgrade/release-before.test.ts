// @needs bubblewrap
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { artifactKeys } from '@pilum/core/redis/keys.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';
import { releaseAfter, releaseBefore, type Tree } from './support/trees.ts';

// A rolling update: the release before this one and this one, as real processes on one Redis. This one is a copy of this tree
// with one more field in the spec, so that it writes what the one before cannot know.

const SPEC_FILE = 'packages/core/src/schemas/artifact-spec.ts';
const CODE = `
  export default (event) => ({ doubled: event.n * 2 });
  export async function* count({ to }) { for (let i = 1; i <= to; i++) yield { i }; }
`;

const kept = keep();
let before: Tree;
let after: Tree;
let pilum: TestPilum;
let redis: Redis;
/** The APIs of both releases. */
let older: Api;
let newer: Api;
beforeAll(async () => {
  before = kept.add(releaseBefore());
  after = kept.add(
    releaseAfter({
      [SPEC_FILE]: [
        [
          '    cors: Type.Optional(Cors),\n',
          '    cors: Type.Optional(Cors),\n    note: Type.Optional(Type.String()),\n',
        ],
        [
          '    cors: ArtifactSpec.properties.cors,\n',
          '    cors: ArtifactSpec.properties.cors,\n    note: ArtifactSpec.properties.note,\n',
        ],
      ],
    }),
  );
  // Workers load what is deployed, and write into its record that it is ready.
  pilum = kept.add(await startPilum({ workers: 0, env: { PILUM_DEPLOY_CHECK: 'true' } }));
  redis = kept.add(connect({ url: pilum.redis.url, name: 'upgrade' }, () => undefined));
  older = new Api((await pilum.addApi(before.path)).url);
  newer = new Api((await pilum.addApi(after.path)).url);
});

class Api {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  async call(method: string, path: string, body?: unknown) {
    const answer = await fetch(this.url + path, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await answer.text();
    // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
    const json: any = answer.headers.get('content-type')?.includes('json') === true ? JSON.parse(text) : null;
    return { status: answer.status, text, json };
  }

  async deploy(id: string, spec: object = {}) {
    const body = { runtime: 'process', code: { inline: CODE }, ...spec };
    const { status, text, json } = await this.call('PUT', `/v1/artifacts/${id}?wait=60s`, body);
    expect([200, 201], text).toContain(status);
    return json;
  }

  /** Calls a function in each of the three ways, and checks what comes out. */
  async callInEachWay(id: string): Promise<void> {
    const sync = await this.call('POST', `/v1/artifacts/${id}/invoke`, { n: 21 });
    expect(sync.json, sync.text).toMatchObject({ status: 'completed', result: { doubled: 42 } });
    const async_ = await this.call('POST', `/v1/artifacts/${id}/invoke?mode=async`, { n: 4 });
    expect(async_.status, async_.text).toBe(202);
    const ended = await this.call('GET', `/v1/tasks/${async_.json.taskId}?wait=60s`);
    expect(ended.json, ended.text).toMatchObject({ status: 'completed', result: { doubled: 8 }, mode: 'async' });
    expect((await this.call('GET', `/v1/tasks/${async_.json.taskId}/result`)).json).toEqual({ doubled: 8 });
    const stream = await this.call('POST', `/v1/artifacts/${id}-stream/stream`, { to: 3 });
    const chunks = [...stream.text.matchAll(/^event: chunk\ndata: (.*)$/gm)].map(([, data]) => data);
    expect(chunks, stream.text).toEqual(['{"i":1}', '{"i":2}', '{"i":3}']);
    expect(stream.text).toContain('event: end\n');
  }
}

/** Deploys a function and a streamed one. */
async function deployBoth(api: Api, id: string, spec: object = {}) {
  await api.deploy(`${id}-stream`, { ...spec, entry: 'index.mjs#count' });
  return await api.deploy(id, spec);
}

const recordOf = async (id: string) =>
  JSON.parse((await redis.hget(artifactKeys({ namespace: 'default', artifactId: id }).versions, '1')) ?? '');

/** Ends the workers that run, in good order. */
async function endWorkers(): Promise<void> {
  for (const worker of pilum.workers.splice(0)) {
    worker.signal('SIGTERM');
    expect(await worker.ended).toBe(0);
  }
}

describe('a worker of the release before, beside an API of this one', () => {
  beforeAll(async () => void (await pilum.addWorker({}, before.path)));

  it('makes a version ready whose spec has a field that it does not know, and keeps the field', async () => {
    const version = await deployBoth(newer, 'forth', { note: 'of the newer release' });
    expect(version).toMatchObject({ state: 'ready', spec: { note: 'of the newer release' } });
    const record = await recordOf('forth');
    expect(record).toMatchObject({ spec: { note: 'of the newer release' } });
    // It has written the record: what it waited for stood in it.
    expect(record).not.toHaveProperty('preparation');
  });

  it('runs its tasks', () => newer.callInEachWay('forth'));

  it('is listed, and drained', async () => {
    const { json } = await newer.call('GET', '/v1/workers');
    expect(json.workers).toHaveLength(1);
    const { workerId } = json.workers[0];
    expect((await newer.call('POST', `/v1/workers/${workerId}/drain`)).status).toBe(202);
    expect(await pilum.workers.pop()?.ended).toBe(0);
  });
});

describe('a worker of this release, beside an API of the one before', () => {
  beforeAll(async () => void (await pilum.addWorker({}, after.path)));

  it('runs what that API deploys', async () => {
    expect(await deployBoth(older, 'back')).toMatchObject({ state: 'ready' });
    await older.callInEachWay('back');
  });

  it('runs what an API of this one has deployed, which the one before shows and calls', async () => {
    await deployBoth(newer, 'shared', { note: 'kept' });
    const { json } = await older.call('GET', '/v1/artifacts/shared');
    expect(json).toMatchObject({ currentVersion: 1, versions: [{ state: 'ready' }] });
    await older.callInEachWay('shared');
    // A record that the API before has written back.
    const patched = await older.call('PATCH', '/v1/artifacts/shared/versions/1', { state: 'deprecated' });
    expect(patched.status, patched.text).toBe(200);
    await older.call('PATCH', '/v1/artifacts/shared/versions/1', { state: 'ready' });
    expect(await recordOf('shared')).toMatchObject({ spec: { note: 'kept' } });
  });

  it('is drained by that API', async () => {
    const { workerId } = (await older.call('GET', '/v1/workers')).json.workers[0];
    expect((await older.call('POST', `/v1/workers/${workerId}/drain`)).status).toBe(202);
    expect(await pilum.workers.pop()?.ended).toBe(0);
  });
});

describe('both releases at once', () => {
  it('run each other’s tasks, and lose none when the workers of one stop', async () => {
    await pilum.addWorker({}, before.path);
    await pilum.addWorker({}, after.path);
    await waitFor(async () => (await newer.call('GET', '/v1/workers')).json.workers.length === 2);
    const accepted = await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const api = n % 2 === 0 ? older : newer;
        const id = n % 4 < 2 ? 'forth' : 'back';
        const { json } = await api.call('POST', `/v1/artifacts/${id}/invoke?mode=async`, { n });
        return { n, taskId: json.taskId as string };
      }),
    );
    // The workers of the release before go, in the middle of it.
    const [gone] = pilum.workers.splice(0, 1);
    gone?.signal('SIGTERM');
    for (const { n, taskId } of accepted) {
      const api = n % 3 === 0 ? older : newer;
      const { json } = await api.call('GET', `/v1/tasks/${taskId}?wait=60s`);
      expect(json).toMatchObject({ status: 'completed', result: { doubled: 2 * n } });
    }
    expect(await gone?.ended).toBe(0);
    await endWorkers();
  });
});
