import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { makeTemporaryDirectory } from '../../support/temporary-directory.ts';

const ROOT = join(import.meta.dirname, '../../..');
const ARCHIVE = join(ROOT, 'test/fixtures/releases/before.tar.br');
const SOURCES = ['apps/api', 'apps/worker', 'packages/core'];

/** The sources of another release than this one, in a directory of their own. */
export interface Tree {
  readonly path: string;
  close(): void;
}

/** The release before this one, as `npm run keep-release` has kept it. */
export function releaseBefore(): Tree {
  return newTree((path) => {
    execFileSync('tar', ['-x', '-C', path], { input: brotliDecompressSync(readFileSync(ARCHIVE)) });
  });
}

/** A change of one file: each text is there once, and becomes the other. */
export type Edits = Readonly<Record<string, readonly (readonly [string, string])[]>>;

/** This tree with some edits, as a release after it. */
export function releaseAfter(edits: Edits): Tree {
  return newTree((path) => {
    for (const source of SOURCES) cpSync(join(ROOT, source), join(path, source), { recursive: true });
    for (const [file, changes] of Object.entries(edits)) {
      let text = readFileSync(join(path, file), 'utf8');
      for (const [before, after] of changes) {
        if (text.split(before).length !== 2) throw new Error(`${file} does not have this once: ${before}`);
        text = text.replace(before, () => after);
      }
      writeFileSync(join(path, file), text);
    }
  });
}

function newTree(fill: (path: string) => void): Tree {
  const path = makeTemporaryDirectory();
  fill(path);
  // It runs with the dependencies of this tree, and with its own packages.
  const modules = join(path, 'node_modules');
  mkdirSync(join(modules, '@pilum'), { recursive: true });
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (name !== '@pilum') symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  for (const source of SOURCES) symlinkSync(join(path, source), join(modules, '@pilum', source.split('/')[1] ?? ''));
  return { path, close: () => rmSync(path, { recursive: true, force: true }) };
}
