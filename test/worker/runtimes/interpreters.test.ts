import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findCandidates, namedCandidates } from '../../../apps/worker/src/runtimes/sandbox/interpreters/candidates.ts';
import { Interpreters } from '../../../apps/worker/src/runtimes/sandbox/interpreters/interpreters.ts';
import { stageTree } from '../../../apps/worker/src/runtimes/sandbox/interpreters/stage-tree.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

/** Makes a program that prints what an interpreter of a version prints to whoever asks for its version. */
function fakeNode(path: string, version: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\necho v${version}\n`);
  chmodSync(path, 0o755);
  return path;
}

const find = (interpreters: string, stagingDirectory: string) =>
  Interpreters.find({
    interpreters,
    stagingDirectory,
    isolation: 'sandbox',
    nodePath: process.execPath,
    python: { ok: false, problem: 'there is none' },
  });
const own = `node${process.versions.node.split('.')[0]}`;

describe('the interpreters of a machine', () => {
  it('are those on PATH and those of version managers, each once', async () => {
    const home = temporaryDirectory();
    const onPath = fakeNode(join(home, 'bin/node'), '21.0.0');
    fakeNode(join(home, 'shims/node'), '1.0.0');
    symlinkSync(onPath, join(home, 'bin/nodejs'));
    const managed = [
      fakeNode(join(home, '.nvm/versions/node/v22.1.0/bin/node'), '22.1.0'),
      fakeNode(join(home, '.local/share/fnm/node-versions/v24.0.0/installation/bin/node'), '24.0.0'),
      fakeNode(join(home, '.pyenv/versions/3.12.1/bin/python3.12'), '3.12.1'),
      fakeNode(join(home, '.local/share/uv/python/cpython-3.13/bin/python3'), '3.13.0'),
    ];
    const found = (await findCandidates({ HOME: home, PATH: `${home}/shims:${home}/bin:relative` }))
      .map(({ path }) => path)
      .filter((path) => path.startsWith(home));
    expect(found.toSorted()).toEqual([onPath, ...managed].toSorted());
  });

  it('are those that are named: a program, an installation, a directory of them', async () => {
    const home = temporaryDirectory();
    const program = fakeNode(join(home, 'one/node-22'), '22.0.0');
    const installed = fakeNode(join(home, 'two/bin/node'), '23.0.0');
    const inside = fakeNode(join(home, 'three/v24/bin/node'), '24.0.0');
    const paths = [program, join(home, 'two'), join(home, 'three'), join(home, 'none')];
    expect((await namedCandidates(paths)).map(({ path }) => path)).toEqual([program, installed, inside]);
  });

  it('have the newest of each name, and the own one in any case', async () => {
    const home = temporaryDirectory();
    const paths = [
      fakeNode(join(home, 'a/node'), '22.9.0'),
      fakeNode(join(home, 'b/node'), '22.10.0'),
      fakeNode(join(home, 'c/node'), '18.20.0'),
      fakeNode(join(home, 'd/node'), `${own.slice(4)}.0.0`),
      fakeNode(join(home, 'e/node'), 'nonsense'),
    ];
    const found = await find(paths.join(', '), temporaryDirectory());
    expect(found.infos).toEqual([
      { name: 'node22', version: '22.10.0' },
      { name: own, version: process.versions.node, isDefault: true },
    ]);
    expect(found.notes).toEqual([
      expect.stringMatching(/c\/node is version 18\.20\.0, and functions need 20 at least/),
      expect.stringMatching(/e\/node is not a Node that runs/),
    ]);
    expect((await find(join(home, 'none'), temporaryDirectory())).notes[0]).toContain('names no interpreter');
    expect((await find('none', temporaryDirectory())).infos).toHaveLength(1);
  });

  it('are placed with the names under which programs look for them', async () => {
    const home = temporaryDirectory();
    const staging = temporaryDirectory();
    const program = fakeNode(join(home, 'node-22'), '22.9.0');
    const found = await find(program, staging);
    const placed = await found.place('node22');
    expect(readlinkSync(join(placed.bin, 'node'))).toBe(placed.path);
    expect(readFileSync(placed.path, 'utf8')).toContain('22.9.0');
    rmSync(placed.bin, { recursive: true });
    expect(readlinkSync(join((await found.place('node22')).bin, 'node'))).toBe(placed.path);
    await expect(found.place('node23')).rejects.toThrow(`This worker has no node23; it has node22, ${own}.`);
  });
});

describe('a directory that sandboxes cannot enter', () => {
  it('is staged for them, whatever the umask, and again only when it has changed', async () => {
    const from = join(temporaryDirectory(), 'python');
    const staging = temporaryDirectory();
    mkdirSync(join(from, 'bin'), { recursive: true, mode: 0o700 });
    writeFileSync(join(from, 'bin/python3.12'), 'program', { mode: 0o700 });
    writeFileSync(join(from, 'open'), 'text', { mode: 0o644 });
    symlinkSync('python3.12', join(from, 'bin/python3'));
    const before = process.umask(0o077);
    try {
      const staged = await stageTree(staging, from, [1]);
      const rights = ['', 'bin', 'bin/python3.12', 'open'].map((name) => statSync(join(staged, name)).mode & 0o777);
      expect(rights).toEqual([0o755, 0o755, 0o755, 0o644]);
      expect(readlinkSync(join(staged, 'bin/python3'))).toBe('python3.12');
      expect(statSync(join(staged, 'open')).ino).toBe(statSync(join(from, 'open')).ino);
      expect(await stageTree(staging, from, [1])).toBe(staged);
      expect(await stageTree(staging, from, [2])).not.toBe(staged);
    } finally {
      process.umask(before);
    }
  });
});
