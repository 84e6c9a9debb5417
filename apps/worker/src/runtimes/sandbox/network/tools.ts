import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { execa } from 'execa';

/** Programs of this machine where any container can run them: with their loader and their libraries. */
export interface Tools {
  readonly directory: string;
  /** The name of the loader in it. */
  readonly loader: string;
}

/**
 * Copies programs with all that they are linked with into a directory of their own; what is there already stays.
 * @throws Error where this system does not say what a program is linked with
 */
export async function stageTools(stagingDirectory: string, programs: readonly string[]): Promise<Tools> {
  const libraries = new Map<string, string>();
  let loader: string | null = null;
  for (const program of programs) {
    const { stdout } = await execa('ldd', [program]);
    for (const [, name, path = name ?? ''] of stdout.matchAll(/^\s*(\S+)(?: => (\/\S+))? \(0x/gm)) {
      if (!path.startsWith('/')) continue;
      libraries.set(basename(name ?? path), path);
      if (/^ld(?:-linux|-musl|64)/.test(basename(path))) loader = basename(path);
    }
  }
  if (loader === null) throw new Error('ldd does not say with which loader the programs are started');
  const files = new Map([...libraries, ...programs.map((path) => [basename(path), path] as const)]);
  const hash = createHash('sha256');
  for (const [name, path] of files) hash.update(`${name}\0`).update(await readFile(path));
  const directory = join(stagingDirectory, `network-tools-${hash.digest('hex').slice(0, 16)}`);
  if ((await stat(directory).catch(() => null)) === null) await place(directory, files);
  return { directory, loader };
}

/** Under another name first, so that nobody ever sees half of it. */
async function place(directory: string, files: ReadonlyMap<string, string>): Promise<void> {
  await mkdir(dirname(directory), { recursive: true });
  const unfinished = await mkdtemp(join(dirname(directory), 'network-tools-unfinished-'));
  try {
    for (const [name, path] of files) {
      await copyFile(await realpath(path), join(unfinished, name));
      await chmod(join(unfinished, name), 0o755);
    }
    await chmod(unfinished, 0o755);
    await rename(unfinished, directory);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    // Another worker that shares the directory was first.
    if ((await stat(directory).catch(() => null)) === null) throw error;
  }
}
