import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, copyFile, link, mkdir, mkdtemp, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** A Node that runs in any image, also in one without a C library: with the loader and the libraries that it needs. */
export interface Interpreter {
  /** Directory of all of it. */
  readonly directory: string;
  /** Names within the directory. */
  readonly loader: string;
  readonly node: string;
}

const NODE = 'node';
const IS_LOADER = /^ld(?:-linux|-musl|64)?.*\.so(?:\.\d+)?$/;

/**
 * Puts this process's own Node and what it is linked with where containers can be given it; once for each release of them.
 * @throws Error where this system does not say what a program is linked with
 */
export async function stageInterpreter(stagingDirectory: string): Promise<Interpreter> {
  const node = await realpath(process.execPath);
  const libraries = await librariesOf();
  const loader = libraries.map((path) => basename(path)).find((name) => IS_LOADER.test(name));
  if (loader === undefined) throw new Error('this Node does not say which loader it was started with');
  const hash = createHash('sha256');
  for (const path of [node, ...libraries]) {
    const { size, mtimeMs } = await stat(path);
    hash.update(`${path}\0${size}\0${mtimeMs}\0`);
  }
  const directory = join(stagingDirectory, `interpreter-${hash.digest('hex').slice(0, 16)}`);
  const staged = { directory, loader, node: NODE };
  if (await exists(directory)) return staged;
  await mkdir(stagingDirectory, { recursive: true });
  // Under another name first, so that nobody ever sees half of it.
  const unfinished = await mkdtemp(join(stagingDirectory, 'interpreter-unfinished-'));
  try {
    await place(node, join(unfinished, NODE));
    for (const path of libraries) await place(path, join(unfinished, basename(path)));
    await chmod(unfinished, 0o755);
    await rename(unfinished, directory);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    // Another worker that shares the directory was first.
    if (!(await exists(directory))) throw error;
  }
  return staged;
}

/** Files that this process has been linked with. */
async function librariesOf(): Promise<string[]> {
  // Newer than its types: without it, names are looked up in the network.
  Object.assign(process.report, { excludeNetwork: true });
  const { sharedObjects } = process.report.getReport() as { sharedObjects: string[] };
  const there = await Promise.all(
    sharedObjects.map(async (path) => (path.startsWith('/') && (await exists(path)) ? path : null)),
  );
  // An addon that was loaded is no part of Node.
  return there.filter((path) => path !== null).filter((path) => !path.endsWith('.node'));
}

/** A hard link costs nothing; a copy where the file system is another, or the file not ours to link. */
async function place(from: string, to: string): Promise<void> {
  const source = await realpath(from);
  await link(source, to).catch(() => copyFile(source, to, constants.COPYFILE_FICLONE));
  if (((await stat(to)).mode & 0o555) !== 0o555) {
    await rm(to);
    await copyFile(source, to);
    await chmod(to, 0o755);
  }
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
