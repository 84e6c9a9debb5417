import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, copyFile, link, lstat, mkdir, opendir, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { labelOf, readOwner } from '../../../ownership/owner.ts';
import { UNFINISHED } from '../../contract/staged-files.ts';

/** The most that the directory of an interpreter may hold. */
const MOST_ENTRIES = 200_000;

/**
 * Makes a copy of a directory that sandboxes can be given, in hard links where the file system allows it, so that it costs no space.
 * One that is there already is taken.
 * @param marks what changes when the directory is another, such as times of change
 * @throws Error for a directory that cannot be read, or holds too much
 */
export async function stageTree(
  stagingDirectory: string,
  directory: string,
  marks: readonly (string | number)[],
): Promise<string> {
  const hash = createHash('sha256')
    .update(JSON.stringify([directory, marks]))
    .digest('hex')
    .slice(0, 16);
  const staged = join(stagingDirectory, `interpreter-${hash}`);
  if ((await stat(staged).catch(() => null)) !== null) return staged;
  const temporary = join(stagingDirectory, `${UNFINISHED}${labelOf(await readOwner())}-${randomUUID()}`);
  try {
    await copyInto(directory, temporary, { left: MOST_ENTRIES });
    await rename(temporary, staged).catch(async (error: NodeJS.ErrnoException) => {
      // Another worker of this machine was faster.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
    return staged;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function copyInto(from: string, to: string, budget: { left: number }): Promise<void> {
  await mkdir(to);
  await chmod(to, 0o755);
  for await (const entry of await opendir(from)) {
    if (--budget.left < 0) throw new Error(`${from} is in a directory of more than ${MOST_ENTRIES} entries`);
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) await copyInto(source, target, budget);
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else if (entry.isFile()) await copyFileTo(source, target);
  }
}

async function copyFileTo(from: string, to: string): Promise<void> {
  const { mode } = await lstat(from);
  // A link has the rights of what it links to: a file that others cannot read takes a copy.
  if ((mode & constants.S_IROTH) !== 0) {
    const isLinked = await link(from, to).then(
      () => true,
      () => false,
    );
    if (isLinked) return;
  }
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  await chmod(to, (mode & constants.S_IXUSR) === 0 ? 0o644 : 0o755);
}
