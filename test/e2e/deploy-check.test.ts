import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { tarBytes } from '../support/tar-bytes.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
beforeAll(async () => {
  pilum = await startPilum({ workers: 1, env: { PILUM_DEPLOY_CHECK: 'true', PILUM_ISOLATION: 'none' } });
});
afterAll(async () => {
  await pilum.close();
});

const put = (id: string, spec: object, query = '') =>
  pilum.call('PUT', `/v1/artifacts/${id}${query}`, { body: { runtime: 'process', ...spec } });
const inline = (text: string) => ({ code: { inline: text } });
const python = (text: string) => ({ language: 'python', code: { inline: text } });

describe('what does not load is known when it is deployed', () => {
  it.each<[string, object, RegExp]>([
    ['a syntax error', inline('export default () => {'), /SyntaxError|Unexpected end/],
    [
      'a module that is not there',
      inline('import "left-pad"; export default () => 1'),
      /Cannot find package 'left-pad'/,
    ],
    ['an export that is not there', { entry: 'index.mjs#run', ...inline('export default () => 1') }, /run/],
    ['an enum', { entry: 'index.ts', ...inline('enum A { B } export default () => A.B') }, /enum/],
    ['what throws', inline('throw new Error("no settings"); export default () => 1'), /no settings/],
    [
      'a syntax error in Python',
      python('def handler(event, context)\n  return 1\n'),
      /SyntaxError|invalid syntax|expected/,
    ],
    ['a module of Python', python('import numpyy\ndef handler(event, context): return 1\n'), /numpyy/],
    ['a handler that Python lacks', python('def other(event, context): return 1\n'), /handler/],
  ])('%s', async (_what, spec, message) => {
    const { status, json } = await put('broken', spec);
    expect([status, json.error.code]).toEqual([422, 'CODE_DOES_NOT_LOAD']);
    expect(json.error.message).toMatch(message);
    expect(json.error.details).toMatchObject({ artifactId: 'broken', reason: 'INSTANCE_START_FAILED' });
  });

  it('and the version before it goes on being called', async () => {
    const first = await put('kept', inline('export default () => "first"'));
    expect([first.status, first.json.state, first.json.preparation]).toEqual([201, 'ready', undefined]);
    expect((await put('kept', inline('export default () => {'))).status).toBe(422);
    expect((await pilum.invoke('kept', {})).body.result).toBe('first');
    const { json } = await pilum.call('GET', '/v1/artifacts/kept/versions/2');
    expect([json.state, json.error.code]).toEqual(['failed', 'CODE_DOES_NOT_LOAD']);
    // The same once more is another try.
    expect((await put('kept', inline('export default () => {'))).status).toBe(422);
    expect((await put('kept', inline('export default () => "second"'))).json).toMatchObject({
      version: 4,
      state: 'ready',
    });
    expect((await pilum.invoke('kept', {})).body).toMatchObject({ result: 'second', timing: { coldStart: false } });
  });

  it('unless the spec says that nobody is to look', async () => {
    const { status, json } = await put('unchecked', { check: false, ...inline('export default () => {') });
    expect([status, json.state, json.spec.check]).toEqual([201, 'ready', undefined]);
    expect((await pilum.invoke('unchecked', {})).body.error?.code).toBe('INSTANCE_START_FAILED');
    const wasm = { runtime: 'wasm', code: { digest: `sha256:${'a'.repeat(64)}` } };
    const other = await put('module', { check: true, ...wasm });
    expect([other.status, other.json.error.details.problems[0].where]).toEqual([400, '/body/check']);
  });

  it('where a server does not listen', async () => {
    const server = { protocol: 'http', command: ['node', 'a.mjs'], entry: 'a.mjs', timeouts: { startMs: 3000 } };
    const { status, json } = await put('server', { ...server, ...inline('throw new Error("no port")') });
    expect([status, json.error.code]).toEqual([422, 'CODE_DOES_NOT_LOAD']);
    expect(json.error.message).toContain('This version does not start');
  });

  it('in an archive too', async () => {
    const bytes = tarBytes(
      { name: 'index.mjs', content: 'import { a } from "./a.mjs"; export default a;' },
      { name: 'a.mjs' },
    );
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const headers = { 'content-type': 'application/octet-stream' };
    await pilum.call('PUT', `/v1/blobs/${digest}`, { body: bytes, headers });
    const { status, json } = await put('packed', { code: { digest, format: 'tar' } });
    expect([status, json.error.message]).toEqual([
      422,
      expect.stringContaining("does not provide an export named 'a'"),
    ]);
  });
});

it('without a worker a version waits for one, and says so; with one it becomes ready', async () => {
  const [worker] = pilum.workers;
  worker?.signal('SIGTERM');
  await worker?.ended;
  await waitFor(async () => (await pilum.call('GET', '/v1/workers')).json.workers.length === 0, { what: 'no worker' });
  const { status, json } = await put('waits', inline('export default () => 1'), '?wait=100ms');
  expect([status, json.state]).toEqual([202, 'creating']);
  expect(json.preparation.message).toContain('waits for a worker');
  const call = await pilum.call('POST', '/v1/artifacts/waits/invoke');
  expect([call.status, call.json.error.message]).toEqual([409, expect.stringContaining('waits for a worker')]);
  expect((await put('waits', inline('export default () => 2'), '?wait=2m')).status).toBe(400);
  await pilum.addWorker();
  await waitFor(async () => (await pilum.call('GET', '/v1/artifacts/waits/versions/1')).json.state === 'ready', {
    what: 'the version to be ready',
  });
  expect((await pilum.invoke('waits', {})).body.result).toBe(1);
});
