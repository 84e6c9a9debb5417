import { beforeAll, describe, expect, it } from 'vitest';
import { ROUTES_NOT_BUILT } from '../../apps/api/src/http/not-built-yet.ts';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';

let redis: TestRedis;
let api: TestApi;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  api = kept.add(await startApi({ url: redis.url }));
});

const json = { 'content-type': 'application/json' };
const put = (body: string | Buffer | undefined, headers: Record<string, string> = json) =>
  api.call('PUT', '/v1/artifacts/bad', { body, headers });

describe('a request with something wrong in it', () => {
  it('that no route has is answered with what there is', async () => {
    const nowhere = await api.call('GET', '/v1/nowhere?a=1');
    expect([nowhere.status, nowhere.json.error.code]).toEqual([404, 'ROUTE_NOT_FOUND']);
    expect(nowhere.json.error.message).toContain('GET /v1/nowhere');
    const method = await api.call('POST', '/v1/artifacts/some', {
      body: Buffer.from('x'),
      headers: { 'content-type': 'a/b' },
    });
    expect([method.status, method.json.error.code]).toEqual([405, 'METHOD_NOT_ALLOWED']);
    expect(method.json.error.details.methods).toEqual(['DELETE', 'GET', 'PUT']);
    expect(method.headers.allow).toBe('DELETE, GET, PUT');
    const head = await api.call('HEAD', '/v1/artifacts/some/invoke');
    expect([head.status, head.headers.allow]).toEqual([405, 'POST']);
    const slash = await api.call('GET', '/v1/artifacts/some/');
    expect(slash.json.error.hint).toBe('There is GET /v1/artifacts/some, without the slash at its end.');
    expect((await api.call('GET', '/v1/artifacts/')).json.error.code).toBe('VALIDATION_FAILED');
    expect((await api.call('GET', '/v1//artifacts')).status).toBe(404);
    expect((await api.call('GET', '/%ff')).json.error.code).toMatch(/VALIDATION_FAILED|ROUTE_NOT_FOUND/);
  });

  it('with broken JSON is told the place', async () => {
    const { status, json: body } = await put('{"runtime": "process",\n "code": {inline: 1}}');
    expect(status).toBe(400);
    expect(body.error.message).toContain('line 2, column 11');
    expect(body.error.details).toMatchObject({ line: 2, column: 11, position: 33 });
  });

  it('with a byte order mark, or another character that nobody sees, is told so', async () => {
    const marked = await put('\ufeff{"runtime": "process"}');
    expect(marked.json.error.message).toContain('a byte order mark (U+FEFF) stands in front of it');
    const hidden = await put('{"runtime":\u200b"process"}');
    expect(hidden.json.error.message).toContain('unexpected "\\u200b"');
  });

  it('in a transfer coding that nobody undoes is refused', async () => {
    const { status, json: body } = await put('{}', { ...json, 'transfer-encoding': 'gzip, chunked' });
    expect([status, body.error.details.problems[0].where]).toEqual([400, '/headers/transfer-encoding']);
  });

  it('names a handler as AWS Lambda does, and is told how it is named here', async () => {
    for (const [entry, code, there] of [
      ['src/index.handler', 'exports.handler = () => 1', 'src/index.mjs#handler'],
      ['main.lambda_handler', 'def lambda_handler(event, context): return 1', 'main.py#lambda_handler'],
    ] as const) {
      const language = entry.startsWith('main') ? 'python' : 'node';
      const { json: body } = await put(JSON.stringify({ runtime: 'process', language, entry, code: { inline: code } }));
      expect(body.error.message).toContain(`${entry} of AWS Lambda is ${there} here`);
    }
  });

  it('with a field named __proto__ is told where, however it is written', async () => {
    for (const [text, where] of [
      ['{"__proto__": {"runtime": "process"}}', '/body/__proto__'],
      ['{"runtime":"process","code":{"inline":"1"},"env":{"__proto__":"x"}}', '/body/env/__proto__'],
      ['{"runtime":"process","labels":{"\\u005f_proto__":"x"}}', '/body/labels/__proto__'],
    ] as const) {
      const { status, json: body } = await put(text);
      expect([status, body.error.details.problems[0].where]).toEqual([400, where]);
    }
    expect(({} as Record<string, unknown>).runtime).toBeUndefined();
  });

  it('with a text that would become something else where it is used is told which', async () => {
    for (const [spec, where] of [
      [{ env: { A: 'x\0--bind\0/\0/tmp' } }, '/body/env/A'],
      [{ command: ['sh', 'a\0b'] }, '/body/command/1'],
      [{ code: { inline: '1' }, entry: 'x\n/../../a.mjs' }, '/body/entry'],
      [{ labels: { a: 'x\ny' } }, '/body/labels/a'],
      [{ code: { inline: 'x\ud800' } }, '/body/code/inline'],
      [{ env: { 'A\udfff': 'x' } }, '/body/env'],
    ] as const) {
      const { status, json: body } = await put(JSON.stringify({ runtime: 'process', command: ['sh'], ...spec }));
      expect([status, body.error.details.problems[0].where]).toEqual([400, where]);
    }
    expect((await api.call('GET', '/v1/artifacts/bad')).status).toBe(404);
  });

  it('with a constructor field is merely unknown', async () => {
    const { json: body } = await put('{"runtime":"process","constructor":{"prototype":{"a":1}}}');
    expect(body.error.message).toContain('"constructor"');
  });

  it('with no body, no content type or another one says so', async () => {
    for (const [body, headers] of [
      [undefined, {}],
      [undefined, json],
      ['', json],
      [Buffer.from('runtime: process'), { 'content-type': 'application/yaml' }],
      [Buffer.from('{}'), {}],
      [Buffer.from([0xff, 0xfe]), json],
      ['{}', { 'content-type': 'application/json; charset=utf-16' }],
      ['{}', { 'content-type': 'application/json; charset=utf-8; charset=utf-8' }],
      ['{}', { ...json, 'content-encoding': 'gzip' }],
      ['{}', { 'content-type': '' }],
      ['{}', { 'content-type': 'json' }],
    ] as const) {
      const answer = await put(body, headers);
      expect([answer.status, answer.json.error.code], answer.text).toEqual([400, 'VALIDATION_FAILED']);
    }
  });

  it('may say JSON and send nothing where no body is needed', async () => {
    await api.deploy('bodiless');
    expect((await api.call('DELETE', '/v1/artifacts/bodiless', { headers: json })).status).toBe(200);
  });

  it('with a body too large answers 413 and names the limit', async () => {
    const large = await put(`{"a":"${'x'.repeat(9 * 1_048_576)}"}`);
    expect([large.status, large.json.error.code]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
    expect(large.json.error.message).toContain('8 MiB');
    const small = await api.call('PATCH', '/v1/artifacts/bad/settings', { body: { paused: 'x'.repeat(70_000) } });
    expect(small.json.error.message).toContain('0.063 MiB');
  });

  it('with a deeply nested body neither hangs nor breaks the process', async () => {
    const depth = 100_000;
    const answer = await put(`${'['.repeat(depth)}${']'.repeat(depth)}`);
    expect([answer.status, answer.json.error.details.problems[0].what]).toEqual([400, 'is nested more than 64 deep']);
    expect((await put(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`)).status).toBe(400);
  });

  it('for what is agreed and not built answers 501, whatever the body', async () => {
    for (const { method, url } of ROUTES_NOT_BUILT) {
      const path = url
        .replace(':id', 'some')
        .replace(':taskId', 'some.01M83BZHAR2XE5Y96ZB1Y3P5VA')
        .replace(':instanceId', 'i')
        .replace('*', 'a/b');
      for (const one of method) {
        const body = one === 'GET' ? undefined : Buffer.from('{');
        const answer = await api.call(one, path, { body, headers: { 'content-type': 'application/json' } });
        expect([one, path, answer.status, answer.json.error.code]).toEqual([one, path, 501, 'NOT_IMPLEMENTED']);
      }
    }
  });

  it('of our own making says nothing of the inside, and is logged', async () => {
    await api.deploy('corrupt');
    await api.redis.hset('{pilum:default:corrupt}:versions', '1', '{"secret":"inside"}');
    const { status, json: body } = await api.call('GET', '/v1/artifacts/corrupt');
    expect([status, body.error.code]).toEqual([500, 'INTERNAL']);
    expect(JSON.stringify(body)).not.toContain('secret');
  });
});
