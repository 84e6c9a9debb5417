import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { type Header, pack } from 'tar-stream';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { packed } from '../support/packed.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { buildModules, modulesMissing } from '../support/wasm-modules.ts';

const missing = await modulesMissing();

const TRIPLER = { 'node_modules/tripler/package.json': '{"main": "index.js"}' };

describe('layers from end to end', () => {
  let pilum: TestPilum;
  const kept = keep();
  beforeAll(async () => {
    pilum = kept.add(await startPilum());
  });

  /** Deploys files as the next version of a layer. */
  const deployLayer = async (id: string, files: Record<string, string>) => {
    const digest = await upload((await packed(files, [])).bytes);
    await pilum.deploy(id, { runtime: 'layer', code: { digest, format: 'tar' } });
  };
  const upload = async (body: Buffer) => {
    const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
    const headers = { 'content-type': 'application/octet-stream' };
    await pilum.call('PUT', `/v1/blobs/${digest}`, { body, headers });
    return digest;
  };

  it('a handler in Node imports a package from a layer, and keeps the version that it was deployed with', async () => {
    const times = (n: number) => ({ 'node_modules/tripler/index.js': `exports.times = (x) => ${n} * x;` });
    await deployLayer('math', { ...TRIPLER, ...times(3) });
    const code = { inline: "import { times } from 'tripler';\nexport default ({ n }) => times(n);" };
    await pilum.deploy('uses-math', { code, dependsOn: ['math'] });
    expect((await pilum.invoke('uses-math', { n: 2 })).body).toMatchObject({ status: 'completed', result: 6 });
    await deployLayer('math', { ...TRIPLER, ...times(4) });
    expect((await pilum.invoke('uses-math', { n: 2 })).body.result).toBe(6);
    await pilum.deploy('uses-math', { code, dependsOn: ['math'] });
    expect((await pilum.invoke('uses-math', { n: 2 })).body.result).toBe(8);
    expect((await pilum.invoke('uses-math@1', { n: 2 })).body.result).toBe(6);
  });

  it('a handler in Python imports a module from a layer, and reads a file of another', async () => {
    await deployLayer('modules', { 'greeter.py': 'def greet(name):\n    return f"hello {name}"\n' });
    await pilum.deploy('motto', { runtime: 'layer', code: { inline: 'per aspera' }, entry: 'words/motto.txt' });
    const inline = [
      'from greeter import greet',
      'def handler(event, context):',
      '    return [greet(event["name"]), open("/opt/motto/words/motto.txt").read()]',
    ].join('\n');
    await pilum.deploy('greets', { language: 'python', code: { inline }, dependsOn: ['modules', 'motto@1'] });
    expect((await pilum.invoke('greets', { name: 'Ada' })).body.result).toEqual(['hello Ada', 'per aspera']);
  });

  it.skipIf(missing !== null)('a module of WebAssembly reads a file of a layer', async () => {
    await deployLayer('texts', { 'a/b.txt': 'read by a module' });
    const modules = makeTemporaryDirectory();
    await buildModules(modules);
    const digest = await upload(readFileSync(join(modules, 'layers.wasm')));
    const command = ['layers', 'cat', '/opt/texts/a/b.txt'];
    await pilum.deploy('reads', { runtime: 'wasm', code: { digest }, command, dependsOn: ['texts'] });
    expect((await pilum.invoke('reads', {})).body).toMatchObject({ status: 'completed', result: 'read by a module' });
    await pilum.deploy('reads', { runtime: 'wasm', code: { digest }, command });
    expect((await pilum.invoke('reads', {})).body.result).toBe('Capabilities insufficient\n');
  });

  it('a version goes on where its layer is deleted, also on a worker that has never had it', async () => {
    await deployLayer('gone', { 'word.txt': 'still here' });
    await pilum.deploy('goes-on', { command: ['cat', '/opt/gone/word.txt'], dependsOn: ['gone'] });
    expect((await pilum.call('DELETE', '/v1/artifacts/gone')).status).toBe(200);
    expect((await pilum.invoke('goes-on', {})).body.result).toBe('still here');
  });

  it.each<[string, Partial<Header> & Pick<Header, 'name'>, RegExp]>([
    ['lies outside of it', { name: '../outside.txt' }, /\.\.\/outside.txt lies outside of the archive/],
    [
      'leads out of it',
      { name: 'passwd', type: 'symlink', linkname: '/etc/passwd' },
      /passwd is a link that leads out/,
    ],
  ])('a layer is refused where a member %s', async (_what, header, message) => {
    const archive = pack();
    archive.entry(header, '');
    archive.finalize();
    const digest = await upload(await buffer(archive));
    const body = { runtime: 'layer', code: { digest, format: 'tar' } };
    const { status, json } = await pilum.call('PUT', '/v1/artifacts/bad', { body });
    expect([status, json.error.message]).toEqual([400, expect.stringMatching(message)]);
  });
});
