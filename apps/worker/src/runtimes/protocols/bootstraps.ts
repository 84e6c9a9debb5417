import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stageTogether } from '../contract/staged-files.ts';

const SOURCE = join(import.meta.dirname, 'handler/bootstrap');
const NAMES = ['node.mjs', 'empty.mjs', 'python.py', 'bridge.mjs'];

/** Puts what runs inside instances on our behalf where they can be given it, and returns the directory. */
export async function stageBootstraps(stagingDirectory: string): Promise<string> {
  const files = NAMES.map(async (name) => ({ name, content: await readFile(join(SOURCE, name)) }));
  return await stageTogether(stagingDirectory, 'bootstrap', await Promise.all(files));
}
