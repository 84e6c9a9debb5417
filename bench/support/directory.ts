import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Scope } from './scope.ts';

/** A directory that goes with the scope. Passable, so that sandboxes of a root worker find their code in it. */
export async function makeDirectory(scope: Scope): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'pilum-bench-'));
  await scope.add('directory', () => rm(directory, { recursive: true, force: true }));
  await chmod(directory, 0o711);
  return directory;
}
