import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';

const ROOT = join(import.meta.dirname, '../..');

/** A function with the packages of npm that it needs, as `tar -c server.mjs node_modules` makes it. */
export async function packed(
  files: Readonly<Record<string, string>>,
  packages: readonly string[],
): Promise<{ readonly bytes: Buffer; readonly digest: string }> {
  const archive = pack();
  const whole = buffer(archive);
  for (const [name, text] of Object.entries(files)) archive.entry({ name }, text);
  for (const directory of directoriesOf(packages)) {
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const name = relative(ROOT, path);
      // Packages inside of it are packed by themselves, where they are needed.
      if (!entry.isFile() || relative(directory, path).includes('node_modules/')) continue;
      archive.entry({ name }, await readFile(path));
    }
  }
  archive.finalize();
  const bytes = await whole;
  return { bytes, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

/** Where packages and everything that they depend on are installed. */
function directoriesOf(packages: readonly string[]): Set<string> {
  const found = new Set<string>();
  const visit = (name: string, from: string) => {
    const directory = installed(name, from);
    if (found.has(directory)) return;
    found.add(directory);
    const { dependencies = {} } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>;
    };
    for (const dependency of Object.keys(dependencies)) visit(dependency, directory);
  };
  for (const name of packages) visit(name, ROOT);
  return found;
}

/** As Node looks for it: in the `node_modules` of each directory on the way up. */
function installed(name: string, from: string): string {
  const places = createRequire(join(from, 'package.json')).resolve.paths(name) ?? [];
  const place = places.find((candidate) => existsSync(join(candidate, name, 'package.json')));
  if (place === undefined) throw new Error(`${name} is not installed below ${dirname(from)}`);
  return join(place, name);
}
