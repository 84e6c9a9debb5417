import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { packed } from '../support/packed.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';
import { TestWorker } from './support/worker.ts';

let redis: TestRedis;
let api: TestApi;
let worker: TestWorker;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  api = kept.add(await startApi({ url: redis.url }));
  worker = kept.add(new TestWorker(redis.url));
  await worker.report();
});

const put = (id: string, body: unknown, headers = {}) => api.call('PUT', `/v1/artifacts/${id}`, { body, headers });
const inline = { inline: 'export default () => 1' };
const referencesOf = async (digest: string) =>
  (await api.redis.smembers(`{pilum:default:blob:${digest}}:references`)).sort();

/** Uploads a tar with these files, and gives its digest. */
async function uploadTar(files: Record<string, string>): Promise<string> {
  const { bytes, digest } = await packed(files, []);
  const headers = { 'content-type': 'application/octet-stream' };
  expect((await api.call('PUT', `/v1/blobs/${digest}`, { body: bytes, headers })).status).toBeLessThan(300);
  return digest;
}

/** Deploys a layer of one file, whose version says the text. */
async function putLayer(id: string, text = id): Promise<{ version: number; digest: string }> {
  const { status, json } = await put(id, { runtime: 'layer', code: { inline: text }, entry: 'file.txt' });
  expect(status, JSON.stringify(json)).toBeLessThan(300);
  return { version: json.version, digest: json.code.digest };
}

describe('a layer', () => {
  it('is deployed from a tar, a file or a text, and versioned as any artifact', async () => {
    const tar = await uploadTar({ 'fonts/a.ttf': 'a' });
    const first = await put('of-tar', { runtime: 'layer', code: { digest: tar, format: 'tar' }, labels: { of: 'us' } });
    expect([first.status, first.json.version, first.json.state]).toEqual([201, 1, 'ready']);
    expect(first.json.code).toMatchObject({ digest: tar, format: 'tar' });
    expect(first.json.spec).toMatchObject({ runtime: 'layer', protocol: 'none', dependsOn: [], labels: { of: 'us' } });
    const again = await put('of-tar', {
      labels: { of: 'us' },
      code: { format: 'tar', digest: tar },
      runtime: 'layer',
    });
    expect([again.status, again.json.version]).toEqual([200, 1]);
    const file = await put('of-tar', { runtime: 'layer', code: { digest: tar }, entry: 'fonts.tar' });
    expect(file.json).toMatchObject({ version: 2, code: { format: 'file', fileName: 'fonts.tar' } });
    const text = await put('of-tar', { runtime: 'layer', code: { inline: 'a = 1' }, entry: 'lib/settings.py' });
    expect(text.json).toMatchObject({ version: 3, code: { format: 'file', fileName: 'lib/settings.py' } });
    expect((await api.call('GET', '/v1/artifacts/of-tar')).json).toMatchObject({ runtime: 'layer', latestVersion: 3 });
  });

  it('has no queue', async () => {
    await putLayer('quiet');
    expect(await api.redis.keys('{pilum:default:quiet}:queue*')).toEqual([]);
  });

  it('stays one: its runtime is fixed', async () => {
    await putLayer('fixed');
    expect((await put('fixed', { runtime: 'process', code: inline })).json.error.code).toBe('RUNTIME_IS_FIXED');
  });

  it.each([
    ['no code', {}, '/body/code', 'is missing: a layer holds files'],
    ['no name for its file', { code: { inline: 'a' } }, '/body/entry', 'is missing'],
    [
      'a name for an archive',
      { code: { digest: `sha256:${'a'.repeat(64)}`, format: 'tar' }, entry: 'a' },
      '/body/entry',
      'archive',
    ],
    ['an export', { code: { inline: 'a' }, entry: 'a.mjs#b' }, '/body/entry', 'names an export'],
    ['an image', { code: { image: 'busybox:1' } }, '/body/code/image', 'is not for runtime layer'],
    ['code twice', { code: { inline: 'a', digest: `sha256:${'a'.repeat(64)}` }, entry: 'a' }, '/body/code', 'both'],
    ['layers', { code: { inline: 'a' }, entry: 'a', dependsOn: ['b'] }, '/body/dependsOn', 'depends on no other layer'],
    ['a protocol', { code: { inline: 'a' }, entry: 'a', protocol: 'lambda' }, '/body/protocol', 'runs nothing'],
    ['a pool', { code: { inline: 'a' }, entry: 'a', pool: { concurrency: 2 } }, '/body/pool', 'runs nothing'],
  ])('is refused with %s', async (_what, spec, where, what) => {
    const { status, json } = await put('refused', { runtime: 'layer', ...spec });
    expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect(json.error.details.problems).toContainEqual({ where, what: expect.stringContaining(what) });
  });

  it('is refused with every field that is none of its own, at once', async () => {
    const { json } = await put('refused', {
      runtime: 'layer',
      command: ['x'],
      env: { A: '1' },
      limits: { cpu: 1 },
      timeouts: { runMs: 1 },
    });
    expect(json.error.details.problems.map(({ where }: { where: string }) => where).sort()).toEqual([
      '/body/code',
      '/body/command',
      '/body/env',
      '/body/limits',
      '/body/timeouts',
    ]);
  });

  it('is checked to be the archive that it says it is', async () => {
    const digest = `sha256:${createHash('sha256').update('no archive').digest('hex')}`;
    const headers = { 'content-type': 'application/octet-stream' };
    await api.call('PUT', `/v1/blobs/${digest}`, { body: Buffer.from('no archive'), headers });
    const { json } = await put('no-archive', { runtime: 'layer', code: { digest, format: 'tar' } });
    expect(json.error.message).toContain('neither a tar archive nor a gzipped one');
    const zip = await put('zipped', { runtime: 'layer', code: { digest, format: 'zip' } });
    expect([zip.status, zip.json.error.message]).toEqual([
      400,
      expect.stringContaining('says zip, but it is no zip archive'),
    ]);
  });

  it.each([
    ['sync', 'POST', '/v1/artifacts/files/invoke'],
    ['async', 'POST', '/v1/artifacts/files@1/invoke?mode=async'],
    ['a stream', 'POST', '/v1/artifacts/files/stream'],
    ['a web endpoint', 'GET', '/fn/files/a'],
  ])('cannot be called: %s', async (_how, method, url) => {
    await putLayer('files');
    const { status, json } = await api.call(method, url, method === 'POST' ? { body: {} } : {});
    expect([status, json.error.code]).toEqual([409, 'ARTIFACT_NOT_READY']);
    expect(json.error.message).toContain('files is a layer');
    expect(json.error.hint).toContain('dependsOn');
  });

  it('has no settings', async () => {
    await putLayer('set');
    const { status, json } = await api.call('PATCH', '/v1/artifacts/set/settings', { body: { paused: true } });
    expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect(json.error.message).toContain('a layer');
  });
});

describe('dependsOn', () => {
  it('is pinned to versions when it is deployed, and what was pinned stays', async () => {
    await putLayer('pinned-a', 'one');
    const second = await putLayer('pinned-a', 'two');
    const other = await putLayer('pinned-b');
    await api.call('PUT', '/v1/artifacts/pinned-b/aliases/good', { body: { version: 1 } });
    const spec = { runtime: 'process', code: inline, dependsOn: ['pinned-b@good', 'pinned-a'] };
    const { status, json } = await put('pins', spec);
    expect(status).toBe(201);
    expect(json.spec.dependsOn).toEqual(['pinned-b@1', 'pinned-a@2']);
    expect(json.layers).toEqual([
      { artifactId: 'pinned-b', version: 1, code: expect.objectContaining({ digest: other.digest }) },
      { artifactId: 'pinned-a', version: 2, code: expect.objectContaining({ digest: second.digest }) },
    ]);
    const same = await put('pins', { ...spec, dependsOn: ['pinned-b@1', 'pinned-a@2'] });
    expect([same.status, same.json.version]).toEqual([200, 1]);
    await putLayer('pinned-a', 'three');
    const moved = await put('pins', spec);
    expect([moved.status, moved.json.version, moved.json.spec.dependsOn]).toEqual([
      201,
      2,
      ['pinned-b@1', 'pinned-a@3'],
    ]);
    expect((await api.call('GET', '/v1/artifacts/pins/versions/1')).json.spec.dependsOn).toEqual([
      'pinned-b@1',
      'pinned-a@2',
    ]);
  });

  it('is left out of versions that have none', async () => {
    const { json } = await put('without', { runtime: 'process', code: inline });
    expect(json.layers).toBeUndefined();
    expect(json.spec.dependsOn).toEqual([]);
  });

  it('names every problem at once', async () => {
    await putLayer('there');
    await put('program', { runtime: 'process', command: ['cat'] });
    await api.deploy('broken');
    const deprecated = await putLayer('old');
    await putLayer('being-made');
    await api.redis.hset('{pilum:default:being-made}:version-states', '1', 'creating');
    await api.call('PATCH', `/v1/artifacts/old/versions/${deprecated.version}`, { body: { state: 'deprecated' } });
    const dependsOn = ['there', 'nowhere', 'there@1', 'there-2@7', 'program', 'old', 'being-made@1'];
    const { status, json } = await put('asks', { runtime: 'process', code: inline, dependsOn });
    expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    const problems = json.error.details.problems as { where: string; what: string }[];
    expect(problems.map(({ where, what }) => `${where} ${what}`)).toEqual([
      '/body/dependsOn/1 names nowhere, which cannot be had: There is no artifact nowhere in this namespace',
      '/body/dependsOn/2 names there again, as /body/dependsOn/0 does: a layer is there once',
      '/body/dependsOn/3 names there-2@7, which cannot be had: There is no artifact there-2 in this namespace',
      '/body/dependsOn/4 names program, which is no layer: its runtime is process',
      expect.stringContaining(
        '/body/dependsOn/5 names old, which cannot be had: Artifact old has no version that is ready',
      ),
      expect.stringContaining(
        '/body/dependsOn/6 names being-made@1, which cannot be had: Version 1 of being-made is creating',
      ),
    ]);
    const unknown = await put('asks', { runtime: 'process', code: inline, dependsOn: ['there@9', 'there@nope'] });
    expect(unknown.json.error.message).toContain('Artifact there has no version 9');
    expect((await put('asks', { runtime: 'process', code: inline, dependsOn: ['old@1'] })).status).toBe(201);
  });

  it('is refused in the wrong form, and with too many', async () => {
    const ask = (dependsOn: unknown) => put('asks', { runtime: 'process', code: inline, dependsOn });
    for (const wrong of ['../a', 'A', 'a@', 'a@0', 'other/a']) {
      const { status, json } = await ask([wrong]);
      expect([status, json.error.details.problems[0].where]).toEqual([400, '/body/dependsOn/0']);
    }
    const many = await ask(Array.from({ length: 33 }, (_, index) => `layer-${index}`));
    expect([many.status, many.json.error.details.problems[0].where]).toEqual([400, '/body/dependsOn']);
  });

  it('is refused where all of them together are too large', async () => {
    const names = ['large-1', 'large-2'];
    for (const name of names) {
      const digest = await uploadTar({ [name]: name });
      await api.redis.hset(`{pilum:default:blob:${digest}}:meta`, 'sizeBytes', String(600 * 1_048_576));
      await put(name, { runtime: 'layer', code: { digest, format: 'tar' } });
    }
    const { json } = await put('asks', { runtime: 'process', code: inline, dependsOn: names });
    expect(json.error.message).toContain('/body/dependsOn has layers of 1200 MiB, and they may have 1024 MiB together');
  });

  it('does not see layers of another namespace', async () => {
    const headers = { 'pilum-namespace': 'other' };
    const layer = { runtime: 'layer', code: { inline: 'a' }, entry: 'a' };
    expect((await put('elsewhere', layer, headers)).status).toBe(201);
    const spec = { runtime: 'process', code: inline, dependsOn: ['elsewhere'] };
    expect((await put('asks', spec)).json.error.message).toContain('no artifact elsewhere in this namespace');
    expect((await put('asks', spec, headers)).status).toBe(201);
  });

  it('keeps the files of its layers, also where a layer is deleted', async () => {
    const { digest } = await putLayer('short-lived', 'kept by who needs it');
    await put('long-lived', { runtime: 'process', code: inline, dependsOn: ['short-lived'] });
    expect(await referencesOf(digest)).toEqual(['long-lived', 'short-lived']);
    expect((await api.call('DELETE', '/v1/artifacts/short-lived')).status).toBe(200);
    expect(await referencesOf(digest)).toEqual(['long-lived']);
    expect((await api.call('GET', '/v1/artifacts/long-lived')).json.versions[0]).toMatchObject({
      state: 'ready',
      layers: [{ artifactId: 'short-lived', version: 1 }],
    });
    const anew = await put('long-lived', { runtime: 'process', code: inline, dependsOn: ['short-lived@1'] });
    expect(anew.json.error.message).toContain('no artifact short-lived');
    await api.call('DELETE', '/v1/artifacts/long-lived');
    expect(await referencesOf(digest)).toEqual([]);
  });

  it('leaves nothing behind where a deployment fails', async () => {
    const { digest } = await putLayer('for-a-failure');
    await put('of-wasm', { runtime: 'wasm', code: { digest }, dependsOn: ['for-a-failure'] });
    expect(await referencesOf(digest)).toEqual(['for-a-failure']);
  });
});
