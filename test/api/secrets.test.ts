import { afterAll, beforeAll, expect, it } from 'vitest';
import { visibleVersion } from '../../apps/api/src/artifacts/visible-version.ts';
import type { Principal } from '../../apps/api/src/auth/principal.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';

let server: TestRedis;
let api: TestApi;
beforeAll(async () => {
  server = await startRedis();
  api = await startApi({ url: server.url });
});
afterAll(async () => {
  await api.close();
  await server.close();
});

const put = (name: string, body: unknown, headers: Record<string, string> = {}) =>
  api.call('PUT', `/v1/secrets/${name}`, { body, headers });
const CODE = { inline: 'export default () => 1' };
const deploy = (id: string, spec: Record<string, unknown>) =>
  api.call('PUT', `/v1/artifacts/${id}`, { body: { runtime: 'process', code: CODE, ...spec } });
const secretsOf = async (namespace = 'default') =>
  (await api.call('GET', '/v1/secrets', { headers: { 'pilum-namespace': namespace } })).json.secrets;

it('a secret is set, listed and deleted in its namespace, and nothing answers with its value', async () => {
  const first = await put('db', { value: 'hunter2hunter2' });
  expect([first.status, first.json]).toEqual([
    201,
    {
      name: 'db',
      version: 1,
      sizeBytes: 14,
      setAt: expect.stringMatching(/^\d{4}-.*Z$/),
      setBy: expect.any(String),
      keyId: expect.stringMatching(/^[0-9a-f]{16}$/),
      usedBy: [],
    },
  ]);
  const second = await put('db', { base64: Buffer.from('hunter3').toString('base64') });
  expect([second.status, second.json.version, second.json.sizeBytes]).toEqual([200, 2, 7]);
  expect(await secretsOf()).toEqual([second.json]);
  expect(await secretsOf('other')).toEqual([]);
  await put('db', { value: 'of another' }, { 'pilum-namespace': 'other' });
  expect(await secretsOf()).toEqual([second.json]);
  const there = { headers: { 'pilum-namespace': 'other' } };
  expect((await api.call('DELETE', '/v1/secrets/db', there)).status).toBe(204);
  const gone = await api.call('DELETE', '/v1/secrets/db', there);
  expect([gone.status, gone.json.error.code]).toEqual([404, 'SECRET_NOT_FOUND']);
  const read = await api.call('GET', '/v1/secrets/db');
  expect([read.status, read.json.error.code]).toEqual([405, 'METHOD_NOT_ALLOWED']);
});

it.each<[unknown, string]>([
  [{}, 'must have "value" or "base64"'],
  [{ value: 'marker-0815', base64: 'bWFya2Vy' }, 'and not both'],
  [{ value: '' }, '/body/value'],
  [{ value: 'marker-0815'.repeat(6000) }, '/body/value'],
  [{ value: 'ß'.repeat(40_000) }, 'has 80000 bytes, and may have 65536'],
  [{ base64: 'marker-0815!' }, '/body/base64'],
  [{ value: 815, marker: 1 }, '/body'],
  [['marker-0815'], '/body'],
])('what is no value is refused and not shown: %j', async (body, what) => {
  const { status, text, json } = await put('bad', body);
  expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
  expect(json.error.message).toContain(what);
  expect(text).not.toContain('marker-0815');
});

it('a spec names secrets that exist, each once as what it can be', async () => {
  await put('text', { value: 'some text' });
  await put('bytes', { base64: Buffer.from([0, 1, 255]).toString('base64') });
  const missing = await deploy('web', { secrets: { A: { name: 'text' }, B: { name: 'nowhere' } } });
  expect([missing.status, missing.json.error.code]).toEqual([404, 'SECRET_NOT_FOUND']);
  expect(missing.json.error.message).toContain('nowhere');
  const refusals: [Record<string, unknown>, string][] = [
    [
      { secrets: { A: { name: 'bytes' } } },
      '/body/secrets/A is no variable: the secret bytes holds bytes that are not text',
    ],
    [{ secrets: { 'a.b': { name: 'text' } } }, '/body/secrets/a.b is not the name of a variable'],
    [{ secrets: { A: { name: 'text' } }, env: { A: '1' } }, 'is a variable that env has too'],
    [{ secrets: { PILUM_CHANNEL: { name: 'text' } } }, 'is set by Pilum itself'],
    [{ secrets: { LD_PRELOAD: { name: 'text' } } }, 'is read by loaders'],
    [{ secrets: { NODE_OPTIONS: { name: 'text' } } }, 'is read by loaders'],
    [{ secrets: { '../x': { name: 'text', as: 'file' } } }, '/body/secrets'],
    [{ secrets: { '..': { name: 'text', as: 'file' } } }, '/body/secrets'],
    [{ secrets: { A: { name: 'text', as: 'header' } } }, '/body/secrets/A/as'],
    [
      { secrets: { A: { name: 'text', as: 'file' } }, writable: [{ path: '/run', sizeMiB: 1 }] },
      'would hide /run/secrets',
    ],
    [
      { writable: [{ path: '/run/secrets/x', sizeMiB: 1 }] },
      "is in /run/secrets, which is not the function's to change",
    ],
    [{ runtime: 'layer', secrets: { A: { name: 'text' } } }, 'is not for a layer'],
  ];
  for (const [spec, what] of refusals) {
    const { status, json } = await deploy('web', spec);
    expect([status, json.error.message]).toEqual([400, expect.stringContaining(what)]);
  }
  expect((await secretsOf()).map(({ usedBy }: { usedBy: string[] }) => usedBy)).toEqual([[], [], []]);
  const secrets = { A: { name: 'text' }, 'b.bin': { name: 'bytes', as: 'file' } };
  const { status, json } = await deploy('web', { secrets });
  expect([status, json.spec.secrets]).toEqual([201, secrets]);
  // The spec as it is shown is the same version.
  const { code: _image, ...shown } = json.spec;
  expect((await deploy('web', shown)).json.version).toBe(json.version);
});

it('a secret stays while a version names it, also an earlier one, and goes by force', async () => {
  await put('used', { value: 'some text' });
  await deploy('one', { secrets: { A: { name: 'used' } } });
  await deploy('one', { env: { V: '2' } });
  await deploy('two', { secrets: { B: { name: 'used' } } });
  const refused = await api.call('DELETE', '/v1/secrets/used');
  expect([refused.status, refused.json.error.code, refused.json.error.details.artifacts]).toEqual([
    409,
    'SECRET_IN_USE',
    ['one', 'two'],
  ]);
  await api.call('DELETE', '/v1/artifacts/two');
  expect((await secretsOf()).find(({ name }: { name: string }) => name === 'used').usedBy).toEqual(['one']);
  expect((await api.call('DELETE', '/v1/secrets/used?force=true')).status).toBe(204);
  // What still names it says so once it is there again.
  await put('used', { value: 'another' });
  expect((await secretsOf()).find(({ name }: { name: string }) => name === 'used').usedBy).toEqual(['one']);
});

it('the values of env are shown to those who may deploy, and hidden from others', async () => {
  const { json } = await deploy('with-env', { env: { A: 'a value' } });
  const { current: _current, ...version } = json;
  const principal = (role: Principal['role']): Principal => ({ namespace: 'default', role, keyId: 'k', hasKey: true });
  expect(visibleVersion(principal('admin'), version).spec.env).toEqual({ A: 'a value' });
  expect(visibleVersion(principal('public'), version).spec.env).toEqual({ A: expect.not.stringContaining('a value') });
});
