import type { ArchiveLimits } from './archive-limits.ts';
import { ArchiveTree, nodesIn } from './archive-tree.ts';
import { BadArchive } from './bad-archive.ts';
import { resolve } from './links.ts';
import type { MemberReader } from './member.ts';

/** The kind of thing at a path that somebody asked for; a `program` is a file that may be executed. */
export type Found = 'file' | 'program' | 'directory' | 'missing' | 'machine';

/** The verdict on an archive that can be unpacked. */
export interface Verdict {
  readonly files: number;
  readonly unpackedBytes: number;
  /** By the paths that were asked for, links followed. */
  readonly found: Readonly<Record<string, Found>>;
  /** Some of its files, for whoever looks for one that is not there. */
  readonly names: readonly string[];
}

const NAMES_SHOWN = 12;

/**
 * Reads every member of an archive, and judges what would come of it. Nothing is made.
 * @throws BadArchive for one that cannot be unpacked
 */
export async function judge(members: MemberReader, limits: ArchiveLimits): Promise<ArchiveTree> {
  const tree = new ArchiveTree(limits);
  let isEmpty = true;
  for await (const member of members()) {
    isEmpty = false;
    tree.add(member);
  }
  if (isEmpty) throw new BadArchive('it is empty');
  tree.finish();
  return tree;
}

/** Says of a tree what others want to know of it. */
export function verdictOf(tree: ArchiveTree, wanted: readonly string[]): Verdict {
  let files = 0;
  const names: string[] = [];
  for (const { path, node } of nodesIn(tree.root)) {
    if (node.kind !== 'file') continue;
    files++;
    const isLookedFor = wanted.some((one) => path.endsWith(`/${one}`));
    if (names.length < (isLookedFor ? 2 : 1) * NAMES_SHOWN) names.push(path);
  }
  return {
    files,
    unpackedBytes: tree.unpackedBytes,
    found: Object.fromEntries(wanted.map((path) => [path, foundAt(tree, path)])),
    names: names.sort(),
  };
}

function foundAt(tree: ArchiveTree, path: string): Found {
  const place = resolve(tree.root, path);
  if (place === 'machine') return 'machine';
  if (typeof place === 'string') return 'missing';
  if (place.kind === 'file') return place.content.isExecutable ? 'program' : 'file';
  return place.kind === 'symlink' ? 'missing' : place.kind;
}
