import type { Protocol } from '@pilum/core/spec/protocols.ts';
import { expect, test } from 'vitest';
import { moduleFilesContract } from './module-files-contract.ts';
import type { Bench, Deployment, RuntimeUnderTest } from './runtime-under-test.ts';

const LAYERED: Deployment = { entry: 'layered.mjs', layers: ['texts', 'others'] };
const layered = (name: string, more: Deployment = {}): Deployment => ({
  ...LAYERED,
  entry: `layered.mjs#${name}`,
  ...more,
});

/** The files of layers: below /opt where instances have a root of their own, and nobody can change them. */
export function filesContract(
  bench: () => Bench,
  subject: RuntimeUnderTest,
  has: (protocol: Protocol) => boolean,
): void {
  if (has('handler')) handlerFiles(bench, subject);
  if (has('stdio')) commandFiles(bench, subject);
  if (has('http')) serverFiles(bench);
  if (has('wasi')) moduleFilesContract(bench);
}

function handlerFiles(bench: () => Bench, { isolated }: RuntimeUnderTest): void {
  test('a handler reads the files of its layers', async () => {
    const { value } = await bench().once(layered('read'), { layer: 'OTHERS', path: 'other.txt' });
    expect(value).toMatchObject({ text: 'another layer\n' });
    if (isolated) expect(value).toMatchObject({ directory: '/opt/others' });
  });

  test('a handler in Node imports packages from its layers, from modules of either kind', async () => {
    const answer = await bench().once(LAYERED, { n: 2 });
    expect(answer.error).toBeUndefined();
    expect(answer.value).toEqual({ triple: 6, quadruple: 8, required: 6 });
  });

  test('a package that no layer has is said to be missing, and a broken one to be broken', async () => {
    const instance = await bench().start(layered('load'));
    for (const how of ['import', 'require']) {
      const { value } = await instance.call({ name: 'nowhere-at-all', how });
      expect(value).toMatchObject({
        code: how === 'import' ? 'ERR_MODULE_NOT_FOUND' : 'MODULE_NOT_FOUND',
        message: expect.stringContaining('nowhere-at-all'),
      });
      expect((await instance.call({ name: './nowhere.mjs', how })).value).toHaveProperty('code');
      expect((await instance.call({ name: 'broken', how })).value).toMatchObject({ type: 'SyntaxError' });
      expect((await instance.call({ name: 'node:fs', how })).value).toContain('readFileSync');
    }
  });

  test('a package of the code’s own comes before that of a layer, and without layers there is none', async () => {
    expect((await bench().once({ entry: 'package/index.js', layers: ['texts'] }, { n: 2 })).value).toBe(4);
    await expect(bench().start({ entry: 'layered.mjs' })).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining('quadrupler'),
    });
  });

  test('a handler in Python imports modules from its layers, in their order', async () => {
    const python: Deployment = { entry: 'layered.py#handler', language: 'python' };
    const answer = await bench().once({ ...python, layers: ['texts', 'others'] });
    expect(answer.error).toBeUndefined();
    expect(answer.value).toEqual({ name: 'shared', deepest: 'deepest', text: 'from a layer\n' });
    await expect(bench().start(python)).rejects.toMatchObject({ message: expect.stringContaining('shared') });
  });

  test('programs of a layer are on the PATH of a handler', async () => {
    expect((await bench().once(layered('run'), { command: ['hail', 'Ada'] })).value).toBe('hail Ada\n');
  });

  if (!isolated) return;
  test('a handler cannot change a layer, and sees none but its own', async () => {
    const instance = await bench().start(layered('write', { layers: ['texts', 'others'] }));
    for (const path of ['/opt/texts/greeting.txt', '/opt/texts/new', '/opt/new']) {
      expect((await instance.call({ path })).value).toBe('EROFS');
    }
    const other = await bench().start(layered('there'));
    expect((await other.call({ path: '/opt/texts/out/sideways' })).value).toBe(true); // its own other layer
    for (const path of ['/opt/texts/out/secret', '/opt/nowhere', '/opt/texts/../../secret.txt']) {
      expect((await other.call({ path })).value).toBe(false);
    }
  });
}

function commandFiles(bench: () => Bench, { isolated }: RuntimeUnderTest): void {
  const shell = (script: string, more: Deployment = {}): Deployment => ({
    protocol: 'stdio',
    command: ['/bin/sh', '-c', script],
    layers: ['texts', 'others'],
    ...more,
  });

  test('a command reads the files of its layers, and has their programs on its PATH', async () => {
    const { value } = await bench().once(shell('cat "$PILUM_LAYER_TEXTS/deep/up" && hail Ada'));
    expect(value).toBe('from a layer\nhail Ada\n');
    expect((await bench().once({ ...shell(''), command: ['hail', 'Bob'], withoutCode: true })).value).toBe(
      'hail Bob\n',
    );
  });

  test('a PATH that the spec names is taken as it is', async () => {
    const { value } = await bench().once(shell('echo "$PATH"', { env: { PATH: '/usr/bin:/bin' } }));
    expect(value).toBe('/usr/bin:/bin\n');
  });

  if (!isolated) return;
  test('a command finds layers in /opt, in its own order of them and no others', async () => {
    const { value } = await bench().once(
      shell('ls /opt; echo x 2>&1 >/opt/texts/greeting.txt | head -c 0; cat /opt/texts/greeting.txt'),
    );
    expect(value).toBe('others\ntexts\nfrom a layer\n');
    expect((await bench().once(shell('ls /opt', { layers: ['others'] }))).value).toBe('others\n');
  });
}

function serverFiles(bench: () => Bench): void {
  test('a server reads the files of its layers', async () => {
    const script =
      'require("http").createServer((_, answer) => answer.end(require("fs").readFileSync(' +
      'process.env.PILUM_LAYER_TEXTS + "/greeting.txt"))).listen(process.env.PORT)';
    const instance = await bench().start({ protocol: 'http', command: ['node', '-e', script], layers: ['texts'] });
    const { body } = await instance.call(null, { payload: Buffer.alloc(0), http: { method: 'GET', url: '/' } });
    expect(body.toString()).toBe('from a layer\n');
  });
}
