import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';
import { TestWorker } from './support/worker.ts';

let redis: TestRedis;
let api: TestApi;
let worker: TestWorker;
beforeAll(async () => {
  redis = await startRedis();
  api = await startApi({ url: redis.url });
  worker = new TestWorker(redis.url);
  await worker.report({ capacity: { tasks: 4, cpu: 4, memoryMiB: 4096 } });
  await api.deploy('called');
});
afterAll(async () => {
  await api?.close();
  await worker?.close();
  await redis?.close();
});

const FORM = 'application/x-www-form-urlencoded';

describe('a payload whose sender does not say what it is', () => {
  const taken = async (body: string | Buffer, contentType?: string) => {
    const headers: Record<string, string> = contentType === undefined ? {} : { 'content-type': contentType };
    const answer = await api.call('POST', '/v1/artifacts/called/invoke?mode=async', { body, headers });
    expect(answer.status, answer.text).toBe(202);
    return (await worker.take('called'))?.ticket.contentType;
  };

  it.each([
    ['{"name":"Ada"}', undefined, 'application/json'],
    ['{"name":"Ada"}', FORM, 'application/json'],
    ['  [1, 2]\n', `${FORM}; charset=UTF-8`, 'application/json'],
    [JSON.stringify({ long: 'x'.repeat(100_000) }), FORM, 'application/json'],
    // A form, or text, or bytes: what it was said to be.
    ['name=Ada', FORM, FORM],
    ['%7B%22a%22%3A1%7D=', FORM, FORM],
    ['{"name":', FORM, FORM],
    ['{not json}', undefined, 'application/octet-stream'],
    ['3', undefined, 'application/octet-stream'],
    ['{"name":"Ada"}', 'text/plain', 'text/plain'],
    [Buffer.from([0x7b, 0xff, 0x7d]), undefined, 'application/octet-stream'],
  ])('%j with %s is %s', async (body, said, expected) => {
    expect(await taken(body, said)).toBe(expected);
  });
});

describe('what would have no effect is refused by name', () => {
  it.each([
    ['GET', '/fn/called', { 'x-callback-url': 'http://a/' }, 501, '/headers/x-callback-url'],
    ['POST', '/fn/called/path', { 'pilum-delay': '1s' }, 400, '/headers/pilum-delay'],
    ['POST', '/v1/artifacts/called/stream', { 'x-callback-url': 'http://a/' }, 501, '/headers/x-callback-url'],
    ['POST', '/v1/artifacts/called/stream?logs=true', { accept: 'application/octet-stream' }, 400, '/query/logs'],
    ['GET', '/v1/tasks', { 'pilum-wait': '20s' }, 400, '/headers/pilum-wait'],
    ['GET', '/v1/tasks', { 'x-callback-url': 'http://a/' }, 501, '/headers/x-callback-url'],
    [
      'POST',
      '/v1/artifacts/called/invoke',
      { 'x-amz-invocation-type': 'Event' },
      400,
      '/headers/x-amz-invocation-type',
    ],
    ['POST', '/v1/artifacts/called/invoke', { 'x-amz-log-type': 'Tail' }, 400, '/headers/x-amz-log-type'],
    ['GET', '/fn/called', { 'content-length': '5' }, 400, '/body'],
    ['DELETE', '/v1/artifacts/other', { 'pilum-mode': 'async' }, 400, '/headers/pilum-mode'],
    ['GET', '/v1/tasks/called.01J8ZQ5V7N3K4M6P8R9S0T1V2W/logs?follow=true&format=text', {}, 400, '/query/format'],
  ])('%s %s %j', async (method, url, headers, status, message) => {
    const answer = await api.call(method, url, { headers });
    expect([answer.status, answer.json.error.message]).toEqual([status, expect.stringContaining(message)]);
  });

  it('and what has one is not', async () => {
    const headers = { 'pilum-namespace': 'default' };
    expect((await api.call('GET', '/v1/tasks', { headers })).status).toBe(200);
  });
});

describe('a body that is too large', () => {
  it('says how to raise the limit', async () => {
    const large = 'x'.repeat(2 * 1_048_576);
    const called = await api.invoke('called', large);
    expect([called.status, called.json.error.hint]).toEqual([413, expect.stringContaining('PILUM_PAYLOAD_LIMIT_MIB')]);
    const spec = { runtime: 'process', code: { inline: 'x'.repeat(9 * 1_048_576) } };
    const deployed = await api.call('PUT', '/v1/artifacts/called', { body: spec });
    expect([deployed.status, deployed.json.error.hint]).toEqual([413, expect.stringContaining('PUT /v1/blobs')]);
  });
});

describe('settings beyond what the workers have', () => {
  it('are taken, and said to have no effect', async () => {
    await api.deploy('wide', { pool: { max: 3 } });
    const patch = async (body: object) => (await api.call('PATCH', '/v1/artifacts/wide/settings', { body })).json;
    expect(await patch({ maxConcurrency: 3 })).not.toHaveProperty('warnings');
    const wide = await patch({ maxConcurrency: 50 });
    expect([wide.maxConcurrency, wide.warnings]).toEqual([50, [expect.stringMatching(/is 50, .* runs 3 tasks/)]]);
    expect((await api.call('GET', '/v1/artifacts/wide')).json.warnings).toEqual(wide.warnings);
    expect((await patch({ maxConcurrency: null, reserved: 5 })).warnings).toEqual([
      'reserved is 5, and no worker that can run it has more than 4 slots.',
    ]);
    expect((await patch({ reserved: 0 })).warnings).toBeUndefined();
  });
});
