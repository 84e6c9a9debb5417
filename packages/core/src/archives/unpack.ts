import { createHash, type Hash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type ArchiveTree, type Content, nodesIn } from './archive-tree.ts';
import { BadArchive } from './bad-archive.ts';
import type { Member, MemberReader } from './member.ts';

/** A file or link as it lies on disk. */
export interface UnpackedFile {
  readonly path: string;
  /** Digest of a file's content, target of a link. */
  readonly content: string;
  readonly sizeBytes: number;
  readonly mtimeMs: number;
}

const ZEROS = Buffer.alloc(64 * 1024);
/** Latest time that a file system is sure to keep, s since 1970. */
const MAX_MTIME_S = 2 ** 31 - 1;

/**
 * Makes what an archive was judged to come to, in a directory that is empty: directories, then files, then links, so
 * that there is no link yet while anything is made.
 * @param members another look at the archive that the tree was made of
 * @returns all files and links, in the order of their paths
 */
export async function unpack(tree: ArchiveTree, members: MemberReader, directory: string): Promise<UnpackedFile[]> {
  const paths = new Map<number, { content: Content; paths: string[] }>();
  const links: { path: string; target: string }[] = [];
  for (const { path, node } of nodesIn(tree.root)) {
    if (node.kind === 'directory') mkdirSync(join(directory, path), { mode: 0o755 });
    else if (node.kind === 'symlink') links.push({ path, target: node.target });
    else {
      const known = paths.get(node.content.member);
      if (known === undefined) paths.set(node.content.member, { content: node.content, paths: [path] });
      else known.paths.push(path);
    }
  }
  const digests = new Map<string, string>();
  let index = 0;
  for await (const member of members()) {
    const wanted = paths.get(index++);
    if (wanted === undefined) continue;
    const [first = '', ...others] = wanted.paths;
    const digest = await writeMember(member, wanted.content, join(directory, first));
    digests.set(first, digest);
    for (const other of others) {
      placeAgain(join(directory, first), join(directory, other));
      digests.set(other, digest);
    }
  }
  for (const { path, target } of links) {
    symlinkSync(target, join(directory, path));
    digests.set(path, target);
  }
  return [...digests.keys()].sort().map((path) => {
    const { size, mtimeMs } = lstatSync(join(directory, path));
    return { path, content: digests.get(path) ?? '', sizeBytes: size, mtimeMs };
  });
}

/** @returns the digest of what it wrote */
async function writeMember(
  member: Member,
  { sizeBytes, isExecutable, mtimeS }: Content,
  path: string,
): Promise<string> {
  if (member.sizeBytes !== sizeBytes) throw new Error('the archive has changed while it was read');
  const hash = createHash('sha256');
  // Read for everyone, and executable where it was: a sandbox runs as another user.
  const file = openSync(path, 'wx', isExecutable ? 0o755 : 0o644);
  try {
    let end = 0;
    for await (const { at, bytes } of member.pieces()) {
      hashZeros(hash, at - end);
      hash.update(bytes);
      writeAll(file, bytes, at);
      end = at + bytes.length;
      if (end > sizeBytes) throw new BadArchive('has more in it than its size says', member.name);
    }
    hashZeros(hash, sizeBytes - end);
    if (end < sizeBytes) ftruncateSync(file, sizeBytes);
  } finally {
    closeSync(file);
  }
  // Python looks at it, to see whether what it has compiled is of this source.
  if (mtimeS !== null) {
    const time = Math.min(Math.max(Math.floor(mtimeS), 0), MAX_MTIME_S);
    utimesSync(path, time, time);
  }
  return hash.digest('hex');
}

function writeAll(file: number, bytes: Buffer, at: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, at + done);
}

function hashZeros(hash: Hash, count: number): void {
  for (let left = count; left > 0; left -= ZEROS.length) hash.update(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
}

/** Another path of the same file: it costs nothing where the file system can do that. */
function placeAgain(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}
