import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { rustMissing } from '../support/wasm-modules.ts';
import type { Bench, Deployment } from './runtime-under-test.ts';

const withoutRust = (await rustMissing()) !== null;
const ENOENT = 44;
const ELOOP = 32;
/** Either says that a path leads out: EPERM, ENOTCAPABLE. */
const REFUSED = [63, 76];
/** Of the loop, which leads nowhere, engines say this or that. */
const NOWHERE = [...REFUSED, ENOENT, ELOOP];

const module = (...command: string[]): Deployment => ({
  protocol: 'wasi',
  entry: 'layers.wasm',
  command: ['layers', ...command],
  layers: ['texts', 'others'],
});

/** The files of layers as a module has them: preopened directories, read-only and with no way out. */
export function moduleFilesContract(bench: () => Bench): void {
  const run = async (...command: string[]) => {
    const answer = await bench().once(module(...command));
    expect(answer.error).toBeUndefined();
    return answer.body.toString();
  };

  test('a module reads the files of its layers, in /opt', async () => {
    expect(await run('cat', '/opt/texts/greeting.txt', '/opt/others/other.txt')).toBe('from a layer\nanother layer\n');
    expect(await run('cat', '/opt/texts/deep/../deep/er/numbers.json')).toBe('[1, 2, 3]');
    expect(await run('cat', '/opt/texts/link', '/opt/texts/deep/up')).toBe('from a layer\nfrom a layer\n');
    expect(await run('cat', '/opt/texts/deep/er/around/er/numbers.json')).toBe('[1, 2, 3]');
    expect(await run('cat', '/opt/texts/nowhere')).toBe('No such file or directory\n');
    expect(await run('cat', '/opt/texts/greeting.txt/')).toBe('Not a directory\n');
  });

  test.skipIf(withoutRust)('a module in Rust finds them as one in C does', async () => {
    const answer = await bench().once({ ...module(), entry: 'tree.wasm', command: ['tree', '/opt/texts/deep/er'] });
    expect(answer.error).toBeUndefined();
    expect(answer.value).toBe('/opt/texts/deep/er/numbers.json: [1, 2, 3]\n');
  });

  test('a function that is called by its name has them as well', async () => {
    const answer = await bench().once({ protocol: 'wasi', entry: 'library.wasm#size_of', layers: ['texts'] }, null);
    expect(answer.value).toBe('from a layer\n'.length);
  });

  test('a module is told where they are', async () => {
    const { value } = await bench().once({ protocol: 'wasi', entry: 'about.wasm', layers: ['texts'] });
    expect(String(value).split('\n')).toContain('PILUM_LAYER_TEXTS=/opt/texts');
  });

  test('a large file comes through whole', async () => {
    const text = Array.from({ length: 400_000 }, (_, index) => String(index)).join('\n');
    await writeFile(join(bench().open.layersDirectory, 'others', 'large.txt'), text);
    expect(await run('cat', '/opt/others/large.txt')).toBe(text);
  });

  test('a file of any size is read into one buffer', async () => {
    await writeFile(join(bench().open.layersDirectory, 'others', 'huge'), '');
    await truncate(join(bench().open.layersDirectory, 'others', 'huge'), 200 * 1024 * 1024);
    const answer = await bench().once({ ...module('whole', '/opt/others/huge'), limits: { memoryMiB: 512 } });
    expect(answer.value).toBe('1 0 1\n');
  });

  test('directories are listed, with what their entries are', async () => {
    const lines = (await run('list', '/opt/texts/deep')).trim().split('\n');
    expect(lines.slice(0, -1).sort()).toEqual(['directory .', 'directory ..', 'directory er', 'link up']);
    expect(lines.at(-1)).toBe('4');
    const many = Array.from({ length: 300 }, (_, index) => `a-rather-long-name-for-a-file-${index}`);
    const { layersDirectory } = bench().open;
    await Promise.all(many.map((name) => writeFile(join(layersDirectory, 'others', name), '')));
    const listed = (await run('list', '/opt/others')).split('\n');
    for (const name of many) expect(listed).toContain(`file ${name}`);
    expect(await run('list', '/opt/texts/greeting.txt')).toBe('Not a directory\n');
  });

  test('files are asked for what they are', async () => {
    expect(await run('stat', '/opt/texts/greeting.txt')).toBe('file - file 1 13\n');
    expect(await run('stat', '/opt/texts/link')).toBe('link deep/../greeting.txt file 1 13\n');
    expect(await run('stat', '/opt/texts/deep')).toMatch(/^directory - directory 1 \d+\n$/);
    expect(await run('stat', '/opt/texts/nowhere')).toBe('No such file or directory\n');
  });

  test('a file is read from any place in it', async () => {
    expect(await run('seek', '/opt/texts/greeting.txt')).toBe('layer 12 from 12 -1 0 0\n');
  });

  test('nothing can be changed, and nothing opened to be', async () => {
    expect(await run('change', '/opt/texts/greeting.txt', '/opt/texts/deep')).toBe(`${'.'.repeat(18)}\n`);
    expect(await run('cat', '/opt/texts/greeting.txt')).toBe('from a layer\n');
  });

  test('no path leads out of a layer, whatever it is made of', async () => {
    const paths = [
      '..',
      '../others/other.txt',
      '../../secret.txt',
      'deep/../../others',
      'deep/er/around/../../../secret.txt',
      '/etc/passwd',
      '//etc/passwd',
      '/opt/texts/greeting.txt',
      'out/secret',
      'out/sideways',
      'out/absolute',
      'out/up',
      'out/up/secret.txt',
      'out/up/../secret.txt',
      'loop',
      '\u0001/../..',
    ];
    const lines = (await run('escape', ...paths)).trim().split('\n');
    expect(lines).toHaveLength(paths.length);
    for (const [index, line] of lines.entries()) {
      const path = paths[index] ?? '';
      const [opened, seen, listed, read] = line.slice(path.length).trim().split(' ').map(Number);
      for (const errno of [opened, seen, listed])
        expect([path, NOWHERE]).toEqual([path, expect.arrayContaining([errno])]);
      // A link itself lies within, and says where it leads to, as its text; a path that leads out says nothing.
      if (!path.startsWith('out/') && path !== 'loop') expect(NOWHERE).toContain(read);
    }
  });

  test('a module has the layers of its own version, and no others', async () => {
    expect(await run('preopens')).toBe('/opt/texts\n/opt/others\n');
    const one = await bench().start({ ...module('preopens'), layers: ['others'] });
    expect((await one.call({})).value).toBe('/opt/others\n');
    const none = await bench().start({ ...module('preopens'), layers: [] });
    expect((await none.call({})).body.toString()).toBe('');
    expect((await one.call({})).value).toBe('/opt/others\n');
  });

  test('a module has so many files open and no more, and others do not feel it', async () => {
    const greedy = Array.from({ length: 8 }, () => bench().once(module('many', '/opt/texts/greeting.txt')));
    const other = bench().once(module('again', '/opt/texts/greeting.txt'));
    for (const { value } of await Promise.all(greedy)) expect(String(value)).toMatch(/^2[0-9]{2} 1\n$/);
    expect((await other).value).toBe('all\n');
  });
}
