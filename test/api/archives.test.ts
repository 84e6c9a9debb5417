import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { type RawMember, tarBytes } from '../support/tar-bytes.ts';
import { type RawZipMember, zipBytes } from '../support/zip-bytes.ts';
import { startApi, type TestApi } from './support/api.ts';

let redis: TestRedis;
let api: TestApi;
beforeAll(async () => {
  redis = await startRedis();
  api = await startApi({ url: redis.url });
});
afterAll(async () => {
  await api.close();
  await redis.close();
});

async function deploy(bytes: Buffer, format: 'tar' | 'zip', spec: object = {}) {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  await api.call('PUT', `/v1/blobs/${digest}`, {
    body: bytes,
    headers: { 'content-type': 'application/octet-stream' },
  });
  const body = { runtime: 'process', code: { digest, format }, ...spec };
  const { status, json } = await api.call('PUT', '/v1/artifacts/packed', { body });
  return { status, json, problem: json.error?.details?.problems?.[0] };
}
const tar = (spec: object, ...members: RawMember[]) => deploy(tarBytes(...members), 'tar', spec);

describe('an archive is judged when it is deployed', () => {
  const index = { name: 'index.mjs', content: 'export default () => 1' };
  it('as a worker would, and the member is named', async () => {
    const answer = await tar({}, index, { name: 'up', type: '2', target: '..' });
    expect([answer.status, answer.json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect(answer.problem.where).toBe('/body/code');
    expect(answer.problem.what).toContain('up is a link that leads out of the archive');
    expect(answer.json.error.hint).toContain('links to what is in the archive');
    const zip = await deploy(zipBytes({ ...index, flags: 1 } satisfies RawZipMember), 'zip');
    expect(zip.problem.what).toContain('index.mjs is encrypted');
    const { json } = await api.call('GET', '/v1/artifacts');
    expect(json.artifacts).toEqual([]);
  });

  it('by its format', async () => {
    expect((await deploy(zipBytes(index), 'tar')).problem).toEqual({
      where: '/body/code/format',
      what: 'says tar, but it is a zip archive',
    });
    expect((await deploy(tarBytes(index), 'zip')).problem.what).toContain('says zip, but it is no zip archive');
  });

  const run = (mode?: number): RawMember => ({ name: 'bin/run', content: '#!/bin/sh', mode });
  const stdio = (...command: string[]) => ({ protocol: 'stdio', command });
  it.each<[string, object, RawMember[], string, RegExp]>([
    ['an entry', { entry: 'main.mjs#default' }, [index], '/body/entry', /names main.mjs, .* it has index.mjs$/],
    ['a file in Python', { entry: 'main.py#handler' }, [index], '/body/entry', /names main.py/],
    [
      'what was packed with its directory',
      {},
      [{ ...index, name: 'my/index.mjs' }],
      '/body/entry',
      /my\/index.mjs: pack/,
    ],
    ['a directory', {}, [{ name: 'index.mjs', type: '5' }], '/body/entry', /is a directory/],
    ['a program', stdio('./run'), [run()], '/body/command/0', /names run, which the code does not have.*bin\/run/],
    ['a program by its whole path', stdio('/code/run'), [run()], '/body/command/0', /names run, which/],
    ['what is no program', stdio('bin/run'), [run(0o644)], '/body/command/0', /chmod \+x/],
    ['a script', stdio('python3', 'app.py'), [index], '/body/command/1', /names app.py/],
  ])('by the files that its spec names: %s', async (_what, spec, members, where, what) => {
    const { problem } = await tar(spec, ...members);
    expect([problem?.where, problem?.what]).toEqual([where, expect.stringMatching(what)]);
  });

  it.each<[string, object, RawMember[]]>([
    [
      'behind a link',
      {},
      [
        { name: 'index.mjs', type: '2', target: 'a.mjs' },
        { ...index, name: 'a.mjs' },
      ],
    ],
    [
      'a program of a virtual environment',
      stdio('bin/py'),
      [{ name: 'bin/py', type: '2', target: '/usr/bin/python3' }],
    ],
    ['a program of its own', stdio('bin/run', 'not.py'), [run(0o755)]],
    ['a module by name', stdio('python3', '-m', 'app.py'), [index]],
    ['a program of the machine', stdio('cat', 'gone.txt'), [index]],
  ])('and taken: %s', async (_what, spec, members) => {
    expect((await tar(spec, ...members)).status).toBeLessThan(300);
  });
});

it('code of one file has the name that the command begins with', async () => {
  const body = (command: string[]) => ({ runtime: 'process', entry: 'run.sh', code: { inline: 'ls' }, command });
  expect((await api.call('PUT', '/v1/artifacts/one', { body: body(['./run.sh']) })).status).toBe(201);
  const { json } = await api.call('PUT', '/v1/artifacts/one', { body: body(['./other.sh']) });
  expect(json.error.message).toContain('/body/command/0 names other.sh, which the code does not have; it has run.sh');
});
