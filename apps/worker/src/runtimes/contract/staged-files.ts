import { createHash, randomUUID } from 'node:crypto';
import { chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { labelOf, namesOfTheDead, readOwner } from '../../ownership/owner.ts';
import type { Presence } from '../../ownership/presence.ts';

/** A file that instances read. */
export interface FileToStage {
  /** A path from the directory. */
  readonly name: string;
  readonly content: Buffer;
}

/**
 * Puts files into a directory of their own below the staging directory, named by what they hold: an older and a newer
 * worker may share the staging directory. Files that are there already and right stay.
 * @param prefix begins the directory's name, and with `bootstrap` for {@link removeUnfinished} to look there
 */
export async function stageTogether(
  stagingDirectory: string,
  prefix: string,
  files: readonly FileToStage[],
): Promise<string> {
  const hash = createHash('sha256');
  for (const { name, content } of files) hash.update(`${name}\0${content.length}\0`).update(content);
  const directory = join(stagingDirectory, `${prefix}-${hash.digest('hex').slice(0, 16)}`);
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o755);
  for (const { name, content } of files) {
    await makeDirectories(directory, dirname(name));
    await placeFile(join(directory, name), 0o644, (path) => writeFile(path, content));
  }
  return directory;
}

/** Makes the directories on the way to a file, open to everyone whatever the umask. */
async function makeDirectories(directory: string, below: string): Promise<void> {
  if (below === '.') return;
  await makeDirectories(directory, dirname(below));
  await mkdir(join(directory, below), { recursive: true });
  await chmod(join(directory, below), 0o755);
}

/** Files that are being made lie in the directory of what they become, under a name that says whose they are. */
export const UNFINISHED = 'unfinished-';

/** Makes a file under another name first, so that no one ever sees half of it. */
export async function placeFile(path: string, mode: number, make: (path: string) => Promise<void>): Promise<void> {
  const temporary = join(dirname(path), `${UNFINISHED}${labelOf(await readOwner())}-${randomUUID()}`);
  try {
    await make(temporary);
    await chmod(temporary, mode);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Removes what dead workers were about to place. */
export async function removeUnfinished(stagingDirectory: string, presence: Presence | null = null): Promise<void> {
  const inStaging = await readdir(stagingDirectory);
  const bootstraps = inStaging.filter((name) => name.startsWith('bootstrap-'));
  for (const directory of bootstraps) {
    const below = await readdir(join(stagingDirectory, directory), { recursive: true, withFileTypes: true }).catch(
      () => [],
    );
    const directories = below.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
    for (const path of [join(stagingDirectory, directory), ...directories]) await removeUnfinishedIn(path, presence);
  }
  await removeUnfinishedIn(stagingDirectory, presence);
}

async function removeUnfinishedIn(directory: string, presence: Presence | null): Promise<void> {
  const unfinished = (await readdir(directory).catch(() => []))
    .filter((name) => name.startsWith(UNFINISHED))
    .map((name) => name.slice(UNFINISHED.length));
  for (const name of await namesOfTheDead(unfinished, presence)) {
    await rm(join(directory, UNFINISHED + name), { recursive: true, force: true });
  }
}
