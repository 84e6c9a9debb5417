import { randomUUID } from 'node:crypto';
import { chmodSync, linkSync, mkdirSync, readdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { chmod, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { labelOf, namesOfTheDead, readOwner } from '../../../ownership/owner.ts';
import type { Presence } from '../../../ownership/presence.ts';

/** The name of the slots' directory in the staging directory. */
const DIRECTORY = 'blanks';
/** A link costs some 16 µs: with more of them than this a mount of its own is the faster way. */
const MAX_ENTRIES = 1024;
/** Made in one go; then the worker's other work has its turn. */
const BATCH = 64;

/** The entries of a directory of code, parents before what is in them. */
export type CodeTree = readonly { readonly path: string; readonly kind: 'directory' | 'file' | 'symlink' }[];

/**
 * The directory that one prewarmed sandbox sees as its code, read-only, and nobody else does: empty, until it is filled with links to
 * the files of the one version that the prewarmed sandbox is for. A link needs neither time nor space for the bytes, and stays
 * when the version's own directory goes.
 */
export class CodeSlot {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(stagingDirectory: string): Promise<CodeSlot> {
    const all = join(stagingDirectory, DIRECTORY);
    await mkdir(all, { recursive: true });
    await chmod(all, 0o711);
    const slot = new CodeSlot(join(all, `${labelOf(await readOwner())}-${randomUUID()}`));
    await mkdir(slot.directory);
    await chmod(slot.directory, 0o755);
    return slot;
  }

  /**
   * Puts a version's code in it.
   * @throws Error where a link cannot be made, for example from another file system
   */
  async fill(codeDirectory: string, tree: CodeTree): Promise<void> {
    for (const [index, { path, kind }] of tree.entries()) {
      const [from, to] = [join(codeDirectory, path), join(this.directory, path)];
      // Not by the thread pool: the way there and back costs ten times as much as the call.
      if (kind === 'directory') makeOpen(to);
      else if (kind === 'file') linkSync(from, to);
      else symlinkSync(readlinkSync(from), to);
      if (index % BATCH === BATCH - 1) await nextTurn();
    }
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The mode that one is made with would be what the umask leaves of it. */
function makeOpen(directory: string): void {
  mkdirSync(directory);
  chmodSync(directory, 0o755);
}

/** Lists a directory of code; null where it holds too much, or what cannot be linked. */
export async function readCodeTree(codeDirectory: string): Promise<CodeTree | null> {
  const tree: { path: string; kind: 'directory' | 'file' | 'symlink' }[] = [];
  const directories = [''];
  for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
    for (const entry of readdirSync(join(codeDirectory, directory), { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        tree.push({ path, kind: 'directory' });
        directories.push(path);
      } else if (entry.isFile()) tree.push({ path, kind: 'file' });
      else if (entry.isSymbolicLink()) tree.push({ path, kind: 'symlink' });
      else return null;
    }
    if (tree.length > MAX_ENTRIES) return null;
    if (directories.length > 0) await nextTurn();
  }
  return tree;
}

/** Removes the slots of dead workers. */
export async function removeOrphanSlots(stagingDirectory: string, presence: Presence | null = null): Promise<void> {
  const all = join(stagingDirectory, DIRECTORY);
  const names = await namesOfTheDead(await readdir(all).catch(() => []), presence);
  for (const name of names) await rm(join(all, name), { recursive: true, force: true });
}
