import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stageTogether } from '../contract/staged-files.ts';

/** The directory with the sources of the programs that run inside of instances. */
const SOURCES = join(import.meta.dirname, 'handler/bootstrap');

/**
 * The programs that run inside of instances, each by the parts that it is made of, in their order. The parts of one are one
 * module: they see each other's names, and an interpreter that starts reads one file.
 */
export const BOOTSTRAP_PARTS: Readonly<Record<string, readonly string[]>> = {
  'node.mjs': [
    'wire',
    'log',
    'errors',
    'load',
    'layers',
    'exports',
    'call',
    'results',
    'stream',
    'context',
    'web',
    'answer',
    'ends',
    'main',
  ].map((part) => `node/${part}.mjs`),
  'python.py': [
    'wire',
    'log',
    'errors',
    'threads',
    'load',
    'call',
    'results',
    'stream',
    'web',
    'answer',
    'ends',
    'main',
  ].map((part) => `python/${part}.py`),
  'empty.mjs': ['node/empty.mjs'],
  'bridge.mjs': ['bridge.mjs'],
};

/** Reads the programs, each joined into one file. */
export async function readBootstraps(): Promise<{ readonly name: string; readonly content: Buffer }[]> {
  return await Promise.all(
    Object.entries(BOOTSTRAP_PARTS).map(async ([name, parts]) => {
      const texts = await Promise.all(parts.map((part) => readFile(join(SOURCES, part), 'utf8')));
      return { name, content: Buffer.from(texts.join('\n')) };
    }),
  );
}

/** Puts the programs where instances can be given them, and returns the directory. */
export async function stageBootstraps(stagingDirectory: string): Promise<string> {
  return await stageTogether(stagingDirectory, 'bootstrap', await readBootstraps());
}
