import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';

/** What a code directory held when it was made from verified bytes. */
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

/** Reads a whole directory. Its cost is that of hashing every byte. */
export async function manifestOf(directory: string, digest: string): Promise<Manifest> {
  const files: Manifest['files'] = [];
  let totalBytes = 0;
  for (const path of await pathsIn(directory)) {
    const full = join(directory, path);
    const stat = await lstat(full);
    const content = stat.isSymbolicLink() ? await readlink(full) : await digestOfFile(full);
    files.push({ path, content, sizeBytes: stat.size, mtimeMs: stat.mtimeMs });
    totalBytes += stat.size;
  }
  return { digest, totalBytes, files };
}

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
      const full = join(directory, expected.path);
      const stat = await lstat(full);
      if (stat.size !== expected.sizeBytes || stat.mtimeMs !== expected.mtimeMs) return false;
      if (depth === 'stat') continue;
      const content = stat.isSymbolicLink() ? await readlink(full) : await digestOfFile(full);
      if (content !== expected.content) return false;
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

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 512 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
