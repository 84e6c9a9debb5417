import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Static, Type } from 'typebox';

/** The list of what a code directory held when it was made from verified bytes. */
export const Manifest = Type.Object({
  digest: Type.String(),
  totalBytes: Type.Integer({ minimum: 0 }),
  files: Type.Array(
    Type.Object({
      path: Type.String(),
      /** Content digest of a file, target of a link. */
      content: Type.String(),
      sizeBytes: Type.Integer({ minimum: 0 }),
      mtimeMs: Type.Number(),
    }),
  ),
});
export type Manifest = Static<typeof Manifest>;

/** Files that are looked at in one go; then the worker's other work has its turn. */
const BATCH = 64;
/** Up to here a file is read at once: a stream costs ten times as much as reading it does. */
const SMALL_BYTES = 64 * 1024;

/** The manifest of one file whose bytes were hashed when they were written: it needs not be read again. */
export function manifestOfFile(
  path: string,
  { digest, sizeBytes, mtimeMs }: { digest: string; sizeBytes: number; mtimeMs: number },
): Manifest {
  const content = digest.slice('sha256:'.length);
  return { digest, totalBytes: sizeBytes, files: [{ path, content, sizeBytes, mtimeMs }] };
}

/**
 * Whether a directory still is what the manifest says.
 * @param depth `content` hashes every byte; `stat` compares names, sizes and times, for a directory whose content this
 *   process has checked before
 */
export async function holds(directory: string, manifest: Manifest, depth: 'content' | 'stat'): Promise<boolean> {
  try {
    const paths = await pathsIn(directory);
    if (paths.length !== manifest.files.length) return false;
    for (const [index, expected] of manifest.files.entries()) {
      if (paths[index] !== expected.path) return false;
      if (index % BATCH === BATCH - 1) await nextTurn();
      const full = join(directory, expected.path);
      const stat = lstatSync(full);
      if (stat.size !== expected.sizeBytes || stat.mtimeMs !== expected.mtimeMs) return false;
      if (depth === 'stat') continue;
      if ((await contentOf(full, stat)) !== expected.content) return false;
    }
    return true;
  } catch {
    return false; // a file that is gone or unreadable is not what it should be
  }
}

/** Files and links below a directory, in a fixed order. */
async function pathsIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

/** Returns the manifest's line for a file or a link. */
async function contentOf(path: string, stat: Stats): Promise<string> {
  if (stat.isSymbolicLink()) return readlinkSync(path);
  const hash = createHash('sha256');
  if (stat.size <= SMALL_BYTES) return hash.update(readFileSync(path)).digest('hex');
  for await (const chunk of createReadStream(path, { highWaterMark: 512 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
