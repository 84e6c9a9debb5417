import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CHUNK_BYTES } from '@pilum/core/store/blob-store.ts';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { startApi, type TestApi } from './support/api.ts';

const MIB = 1_048_576;
let redis: TestRedis;
let api: TestApi;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
});
beforeEach(async () => {
  api = await startApi({ url: redis.url, deps: { blobLimits: { blobBytes: 2 * MIB, quotaBytes: 5 * MIB } } });
  await api.redis.flushall();
});
afterEach(async () => {
  await api.close();
});

const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const upload = (bytes: Buffer, headers: Record<string, string> = {}, digest = digestOf(bytes)) =>
  api.call('PUT', `/v1/blobs/${digest}`, { body: bytes, headers });
const bytesOf = (size: number, fill: number) => Buffer.alloc(size, fill);
const chunks = async () => (await api.redis.keys('*:upload:*')).length;

describe('an upload', () => {
  it.each([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * MIB])(
    'of %i bytes is stored as it is',
    async (size) => {
      const bytes = bytesOf(size, 7);
      const { status, json } = await upload(bytes);
      expect([status, json]).toEqual([201, { digest: digestOf(bytes), sizeBytes: size }]);
      const stored: Buffer[] = [];
      for await (const chunk of api.deps.blobs.read({ namespace: 'default', digest: digestOf(bytes) }))
        stored.push(chunk);
      expect(Buffer.concat(stored).equals(bytes)).toBe(true);
      expect(await api.deps.blobs.usage()).toBe(size);
    },
  );

  it('again is known, and takes no more room', async () => {
    const bytes = bytesOf(MIB, 1);
    expect((await upload(bytes)).status).toBe(201);
    expect((await upload(bytes)).status).toBe(200);
    expect(await api.deps.blobs.usage()).toBe(MIB);
    expect(await chunks()).toBe(2);
  });

  it('at the same time as the same is stored once', async () => {
    const bytes = bytesOf(MIB, 2);
    const answers = await Promise.all([upload(bytes), upload(bytes), upload(bytes)]);
    expect(answers.every(({ status }) => status < 300)).toBe(true);
    expect(await api.deps.blobs.usage()).toBe(MIB);
    expect(await chunks()).toBe(2);
  });

  it('of bytes with another digest stores nothing', async () => {
    const answer = await upload(bytesOf(MIB, 3), {}, `sha256:${'0'.repeat(64)}`);
    expect([answer.status, answer.json.error.code]).toEqual([422, 'CHECKSUM_MISMATCH']);
    expect(answer.json.error.details.actual).toBe(digestOf(bytesOf(MIB, 3)));
    expect([await chunks(), await api.deps.blobs.usage()]).toEqual([0, 0]);
  });

  it('over the limit answers 413, names it and stores nothing', async () => {
    const answer = await upload(bytesOf(2 * MIB + 1, 4));
    expect([answer.status, answer.json.error.code]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
    expect(answer.json.error.message).toContain('2 MiB');
    expect([await chunks(), await api.deps.blobs.usage()]).toEqual([0, 0]);
  });

  it('over the limit is noticed too where its size was not said beforehand', async () => {
    await api.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = api.app.server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}/v1/blobs/${digestOf(bytesOf(3 * MIB, 4))}`, {
      method: 'PUT',
      body: new Blob([bytesOf(3 * MIB, 4)]).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(answer.status).toBe(413);
    expect([await chunks(), await api.deps.blobs.usage()]).toEqual([0, 0]);
  });

  it('over the quota of the store answers 507 and leaves what is there', async () => {
    for (const fill of [1, 2]) expect((await upload(bytesOf(2 * MIB, fill))).status).toBe(201);
    const answer = await upload(bytesOf(2 * MIB, 3));
    expect([answer.status, answer.json.error.code]).toEqual([507, 'STORE_FULL']);
    expect(answer.json.error.message).toContain('5 MiB');
    expect(await api.deps.blobs.usage()).toBe(4 * MIB);
    expect((await upload(bytesOf(MIB, 3))).status).toBe(201);
    // What is known needs no room to be deployed again.
    await api.deploy('known', { code: { digest: digestOf(bytesOf(MIB, 3)) } });
  });

  it('that breaks off stores nothing', async () => {
    await api.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = api.app.server.address() as AddressInfo;
    const call = request({ host: '127.0.0.1', port, path: `/v1/blobs/${digestOf(bytesOf(MIB, 5))}`, method: 'PUT' });
    const closed = once(call, 'close').catch(() => undefined);
    call.write(bytesOf(MIB - 1, 5));
    await waitFor(async () => (await chunks()) > 0, { what: 'the first chunk' });
    call.destroy();
    await closed;
    await waitFor(async () => (await api.deps.blobs.usage()) === 0 && (await chunks()) === 0, { what: 'nothing' });
    expect(await api.deps.blobs.info({ namespace: 'default', digest: digestOf(bytesOf(MIB, 5)) })).toBeNull();
  });

  it('needs a digest for a name and bytes as they are', async () => {
    for (const digest of ['x', `sha256:${'A'.repeat(64)}`, `sha256:${'a'.repeat(63)}`, `md5:${'a'.repeat(64)}`]) {
      const answer = await upload(Buffer.from('a'), {}, digest);
      expect([answer.status, answer.json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    }
    const zipped = await upload(Buffer.from('a'), { 'content-encoding': 'gzip' });
    expect(zipped.json.error.code).toBe('VALIDATION_FAILED');
    const typed = await upload(Buffer.from('{'), { 'content-type': 'application/json' });
    expect(typed.status).toBe(201);
  });

  it('again repairs one that has lost a part', async () => {
    const bytes = bytesOf(MIB, 6);
    await upload(bytes);
    const [one] = await api.redis.keys('*:upload:*');
    await api.redis.del(one ?? '');
    expect((await upload(bytes)).status).toBe(200);
    const stored: Buffer[] = [];
    for await (const chunk of api.deps.blobs.read({ namespace: 'default', digest: digestOf(bytes) }))
      stored.push(chunk);
    expect(Buffer.concat(stored).equals(bytes)).toBe(true);
    expect([await chunks(), await api.deps.blobs.usage()]).toEqual([2, MIB]);
  });
});

describe('a blob', () => {
  it('can be deployed by the namespace that uploaded it, and by no other', async () => {
    const bytes = Buffer.from('export default () => 1');
    const spec = { runtime: 'process', code: { digest: digestOf(bytes) } };
    const unknown = await api.call('PUT', '/v1/artifacts/mine', { body: spec });
    expect([unknown.status, unknown.json.error.code]).toEqual([404, 'BLOB_NOT_FOUND']);
    await upload(bytes);
    const mine = await api.call('PUT', '/v1/artifacts/mine', { body: spec });
    expect(mine.json.code).toEqual({ digest: digestOf(bytes), format: 'file', sizeBytes: 22, fileName: 'index.mjs' });
    const theirs = await api.call('PUT', '/v1/artifacts/theirs', {
      body: spec,
      headers: { 'pilum-namespace': 'other' },
    });
    expect([theirs.status, theirs.json.error.code]).toEqual([404, 'BLOB_NOT_FOUND']);
    expect(
      (await api.call('GET', '/v1/artifacts', { headers: { 'pilum-namespace': 'other' } })).json.artifacts,
    ).toEqual([]);
  });

  it('that is said to be an archive must look like one', async () => {
    const tar = Buffer.alloc(1024);
    tar.write('index.mjs');
    tar.write('        ', 148, 'latin1');
    const sum = tar.reduce((total, byte) => total + byte, 0);
    tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    const deployTar = async (bytes: Buffer) => {
      await upload(bytes);
      const spec = { runtime: 'process', code: { digest: digestOf(bytes), format: 'tar' } };
      return await api.call('PUT', '/v1/artifacts/archive', { body: spec });
    };
    expect((await deployTar(tar)).json.code).toEqual({ digest: digestOf(tar), format: 'tar', sizeBytes: 1024 });
    expect((await deployTar(Buffer.from([0x1f, 0x8b, 8, 0]))).json.error.message).toContain('it is damaged');
    for (const [bytes, what] of [
      [Buffer.from('PK\u0003\u0004'), 'a zip archive'],
      [bytesOf(1024, 65), 'neither a tar archive'],
      [Buffer.alloc(0), 'neither a tar archive'],
    ] as const) {
      const answer = await deployTar(bytes);
      expect(answer.json.error.message).toContain(what);
      expect(answer.json.error.details.problems[0].where).toBe('/body/code/format');
    }
  });

  it('is collected when no artifact needs it any more, and not before', async () => {
    const kept = Buffer.from('export default 1');
    const loose = Buffer.from('export default 2');
    await upload(kept);
    await upload(loose);
    await api.deploy('keeper', { code: { digest: digestOf(kept) } });
    await api.deploy('inliner', { code: { inline: 'export default 3' } });
    const collect = () => api.deps.blobs.collect(Date.now() + 1000);
    expect(await api.deps.blobs.collect(Date.now() - 60_000)).toBe(0);
    expect(await collect()).toBe(1);
    expect(await api.deps.blobs.info({ namespace: 'default', digest: digestOf(loose) })).toBeNull();
    expect(await api.deps.blobs.info({ namespace: 'default', digest: digestOf(kept) })).not.toBeNull();
    await api.call('DELETE', '/v1/artifacts/keeper');
    await api.call('DELETE', '/v1/artifacts/inliner');
    expect(await api.deps.blobs.collect(Date.now() - 60_000)).toBe(0);
    expect(await collect()).toBe(2);
    expect([await chunks(), await api.deps.blobs.usage()]).toEqual([0, 0]);
  });
});
