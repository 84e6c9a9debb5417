import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { importing, PREAMBLE, section, withMemory } from '../support/module-bytes.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';

let redis: TestRedis;
let api: TestApi;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  api = kept.add(await startApi({ url: redis.url }));
});

const put = (id: string, body: unknown) => api.call('PUT', `/v1/artifacts/${id}`, { body });

/** Uploads a module, and says how it is named. */
async function upload(bytes: Buffer): Promise<string> {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const headers = { 'content-type': 'application/octet-stream' };
  expect((await api.call('PUT', `/v1/blobs/${digest}`, { body: bytes, headers })).status).toBeLessThan(300);
  return digest;
}

describe('deploying a WebAssembly module', () => {
  it('answers 201 with the version, all of its defaults filled in', async () => {
    const digest = await upload(withMemory(0, 1));
    const { status, json } = await put('module', { runtime: 'wasm', code: { digest } });
    expect(status).toBe(201);
    expect(json).toMatchObject({
      state: 'ready',
      code: { digest, format: 'file', fileName: 'main.wasm' },
      spec: { runtime: 'wasm', protocol: 'wasi', entry: 'main.wasm', limits: { memoryMiB: 256 } },
    });
    expect(json.spec.language).toBeUndefined();
  });

  it.each([
    ['gojs.debug, env.emscripten_resize_heap', importing(['gojs', 'debug'], ['env', 'emscripten_resize_heap'])],
    ['-sSTANDALONE_WASM', importing(['env', 'emscripten_resize_heap'])],
    ['rb-js-abi-host.eval', importing(['rb-js-abi-host', 'eval'])],
    ['wasi_snapshot_preview1.fd_dance', importing(['wasi_snapshot_preview1', 'fd_dance'])],
    ['and 12 more', importing(...Array.from({ length: 20 }, (_, i) => ['env', `f${i}`] as const))],
    ['has a shared memory', withMemory(3, 1, 2)],
    ['begins with 300 MiB of memory, more than limits.memoryMiB (256)', withMemory(0, 0xc0, 0x25)],
    ['is no WebAssembly', Buffer.from('#!/bin/sh\n')],
    ['is a component (WASI preview 2)', Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0])],
    ['ends in the middle', Buffer.from([...PREAMBLE, 1, 100, 1])],
    ['uses exceptions', Buffer.from([...PREAMBLE, ...section(13, [0])])],
    ['does not export a function _start; it exports: no function', Buffer.from(PREAMBLE)],
  ])('refuses a module and says why: %s', async (message, bytes) => {
    const digest = await upload(bytes);
    const { status, json } = await put('refused', { runtime: 'wasm', code: { digest } });
    expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect(json.error.message).toContain(message);
    expect(json.error.details.problems[0].where).toBe('/body/code');
    expect(await api.redis.smembers(`{pilum:default:blob:${digest}}:references`)).toEqual([]);
  });

  it('reads no more of a module than its head', async () => {
    // Its code would be the largest that is allowed, and lies behind what is wrong with it.
    const bytes = Buffer.concat([importing(['env', 'x']), Buffer.alloc(8 * 1024 * 1024)]);
    const digest = await upload(bytes);
    const reads = async () => Number(/total_net_output_bytes:(\d+)/.exec(await api.redis.info('stats'))?.[1]);
    const before = await reads();
    const { status } = await put('large', { runtime: 'wasm', code: { digest } });
    expect(status).toBe(400);
    expect((await reads()) - before).toBeLessThan(2 * 1024 * 1024);
  });

  it.each([
    ['/body/code', { runtime: 'wasm' }],
    ['/body/code/inline', { runtime: 'wasm', code: { inline: '(module)' } }],
    ['/body/code/format', { runtime: 'wasm', code: { digest: `sha256:${'a'.repeat(64)}`, format: 'tar' } }],
    ['/body/protocol', { runtime: 'wasm', protocol: 'handler', code: { digest: `sha256:${'a'.repeat(64)}` } }],
    ['/body/language', { runtime: 'wasm', language: 'node', code: { digest: `sha256:${'a'.repeat(64)}` } }],
    ['/body/entry', { runtime: 'wasm', entry: 'main.js', code: { digest: `sha256:${'a'.repeat(64)}` } }],
    [
      '/body/command',
      { runtime: 'wasm', entry: 'main.wasm#f', command: ['x'], code: { digest: `sha256:${'a'.repeat(64)}` } },
    ],
    [
      '/body/limits/network',
      { runtime: 'wasm', limits: { network: 'host' }, code: { digest: `sha256:${'a'.repeat(64)}` } },
    ],
    [
      '/body/limits/memoryMiB',
      { runtime: 'wasm', limits: { memoryMiB: 8192 }, code: { digest: `sha256:${'a'.repeat(64)}` } },
    ],
  ])('refuses what does not go with the runtime: %s', async (where, body) => {
    const { status, json } = await put('refused', body);
    expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect(json.error.details.problems.map((problem: { where: string }) => problem.where)).toEqual([where]);
  });

  it('refuses a module that was not uploaded', async () => {
    const { status, json } = await put('absent', { runtime: 'wasm', code: { digest: `sha256:${'b'.repeat(64)}` } });
    expect([status, json.error.code]).toEqual([404, 'BLOB_NOT_FOUND']);
  });
});
