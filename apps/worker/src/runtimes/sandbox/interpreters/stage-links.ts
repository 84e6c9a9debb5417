import { createHash, randomUUID } from 'node:crypto';
import { chmod, mkdir, rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { programNames } from '@pilum/core/spec/interpreters.ts';
import type { Language } from '@pilum/core/spec/languages.ts';
import { labelOf, readOwner } from '../../../ownership/owner.ts';
import { UNFINISHED } from '../../contract/staged-files.ts';

/**
 * Makes a directory in which an interpreter has each name under which programs look for one of its language. Two versions may lie
 * side by side in one directory, and then no search path of theirs alone says which one is meant.
 * @param executable the path that the links lead to, as an instance sees it
 */
export async function stageLinks(stagingDirectory: string, language: Language, executable: string): Promise<string> {
  const hash = createHash('sha256').update(`${language}\0${executable}`).digest('hex').slice(0, 16);
  const directory = join(stagingDirectory, `bootstrap-links-${hash}`);
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o755);
  for (const name of programNames(language)) {
    const temporary = join(directory, `${UNFINISHED}${labelOf(await readOwner())}-${randomUUID()}`);
    await symlink(executable, temporary);
    await rename(temporary, join(directory, name));
  }
  return directory;
}
