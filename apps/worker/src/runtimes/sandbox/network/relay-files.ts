import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type FileToStage, stageTogether } from '../../contract/staged-files.ts';

const SOURCES = join(import.meta.dirname, 'relay');

/** Puts the relay's program where a user without privileges can read it, and returns the path of its main file. */
export async function stageRelay(stagingDirectory: string): Promise<string> {
  const { resolve } = createRequire(import.meta.url);
  const packets = dirname(resolve('dns-packet'));
  const codec = dirname(createRequire(join(packets, 'index.js')).resolve('@leichtgewicht/ip-codec'));
  const files = await Promise.all([
    filesOf(SOURCES, '.', /\.ts$/),
    filesOf(packets, 'node_modules/dns-packet', /\.js$|^package\.json$/),
    filesOf(codec, 'node_modules/@leichtgewicht/ip-codec', /\.[cm]js$|^package\.json$/),
  ]);
  // Node takes a .ts file for a module without looking for one that says so.
  const kind = { name: 'package.json', content: Buffer.from('{"type":"module"}\n') };
  return join(await stageTogether(stagingDirectory, 'bootstrap-relay', [kind, ...files.flat()]), 'main.ts');
}

async function filesOf(directory: string, to: string, wanted: RegExp): Promise<FileToStage[]> {
  const names = (await readdir(directory)).filter((name) => wanted.test(name)).sort();
  return await Promise.all(
    names.map(async (name) => ({ name: join(to, name), content: await readFile(join(directory, name)) })),
  );
}
