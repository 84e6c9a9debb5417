import type { ArchiveLimits } from './archive-limits.ts';
import { segmentsOf } from './archive-path.ts';
import { BadArchive } from './bad-archive.ts';
import { resolve } from './links.ts';
import type { Member } from './member.ts';

/** The content of a file, which hard links give more than one path. */
export interface Content {
  /** Number of the member of the archive that has it. */
  readonly member: number;
  readonly sizeBytes: number;
  readonly isExecutable: boolean;
  readonly mtimeS: number | null;
}

export interface DirectoryNode {
  readonly kind: 'directory';
  readonly parent: DirectoryNode | null;
  readonly children: Map<string, Node>;
}
export interface FileNode {
  readonly kind: 'file';
  readonly content: Content;
}
export interface LinkNode {
  readonly kind: 'symlink';
  readonly target: string;
}
export type Node = DirectoryNode | FileNode | LinkNode;

/**
 * The tree that an archive unpacks to, kept in memory alone: every member is judged against what those before it have made, and
 * nothing is on disk before all of them were. No link is ever followed to a place where something is made.
 */
export class ArchiveTree {
  readonly root: DirectoryNode = { kind: 'directory', parent: null, children: new Map() };
  readonly #limits: ArchiveLimits;
  #members = 0;
  #nodes = 0;
  #unpackedBytes = 0;
  #allPathBytes = 0;

  constructor(limits: ArchiveLimits) {
    this.#limits = limits;
  }

  get unpackedBytes(): number {
    return this.#unpackedBytes;
  }

  /** Takes the next member; of a name that comes again the last one counts. @throws BadArchive */
  add(member: Member): void {
    const limits = this.#limits;
    const { name } = member;
    const index = this.#members++;
    if (this.#members > limits.members) throw new BadArchive(`it has more than ${limits.members} entries`);
    const segments = segmentsOf(name, limits);
    this.#allPathBytes += name.length;
    if (this.#allPathBytes > limits.allPathBytes) {
      throw new BadArchive(`its paths have more than ${Math.floor(limits.allPathBytes / 1_048_576)} MiB together`);
    }
    const last = segments.pop();
    if (last === undefined) {
      if (member.type === 'directory') return;
      throw new BadArchive('stands where the directory of the archive itself is', name);
    }
    const directory = this.#directoryFor(segments, name);
    const standing = directory.children.get(last);
    if (member.type === 'directory') {
      if (standing?.kind !== 'directory') this.#put(directory, last, newDirectory(directory), name);
      return;
    }
    if (name.endsWith('/')) throw new BadArchive('is named as a directory is, and is none', name);
    if (standing?.kind === 'directory' && standing.children.size > 0) {
      throw new BadArchive('is a directory with something in it, and something else', name);
    }
    this.#put(directory, last, this.#nodeOf(member, index), name);
  }

  /** Judges what can be judged only of the whole. @throws BadArchive */
  finish(): void {
    for (const { path, node, directory } of nodesIn(this.root)) {
      if (node.kind !== 'symlink') continue;
      if (resolve(directory, path.slice(path.lastIndexOf('/') + 1)) === 'outside') {
        throw new BadArchive(
          `is a link that leads out of the archive, to ${JSON.stringify(node.target).slice(0, 200)}`,
          path,
          'Code holds links to what is in the archive, and to programs of the machine: /usr, /bin, /lib, /opt.',
        );
      }
    }
  }

  #nodeOf(member: Member, index: number): FileNode | LinkNode {
    const { name, target } = member;
    if (member.type === 'link') return this.#linked(name, target);
    if (member.type === 'symlink') {
      if (target === '') throw new BadArchive('is a link to nothing', name);
      if (target.includes('\0') || Buffer.byteLength(target) > this.#limits.pathBytes) {
        throw new BadArchive('is a link whose target is no path', name);
      }
      return { kind: 'symlink', target };
    }
    const { sizeBytes, isExecutable, mtimeS } = member;
    return { kind: 'file', content: { member: index, sizeBytes, isExecutable, mtimeS } };
  }

  /** A hard link is another path of what stands in the archive already. */
  #linked(name: string, target: string): FileNode | LinkNode {
    let node: Node | undefined = this.root;
    for (const segment of segmentsOf(target, this.#limits)) {
      node = node?.kind === 'directory' ? node.children.get(segment) : undefined;
    }
    if (node === undefined) {
      throw new BadArchive(
        `is a hard link to ${JSON.stringify(target).slice(0, 200)}, which is not in front of it in the archive`,
        name,
        'Pack both in one archive, or with tar --hard-dereference.',
      );
    }
    if (node.kind === 'directory') throw new BadArchive('is a hard link to a directory', name);
    return node;
  }

  /** The directory that a member lies in, which is made where it is not there. */
  #directoryFor(segments: readonly string[], name: string): DirectoryNode {
    let directory = this.root;
    for (const segment of segments) {
      const standing = directory.children.get(segment);
      if (standing?.kind === 'directory') {
        directory = standing;
        continue;
      }
      if (standing?.kind === 'symlink') throw new BadArchive('lies behind a link of the archive', name);
      if (standing?.kind === 'file') throw new BadArchive(`lies in a file: ${segment} is one`, name);
      const made = newDirectory(directory);
      this.#put(directory, segment, made, name);
      directory = made;
    }
    return directory;
  }

  #put(directory: DirectoryNode, segment: string, node: Node, name: string): void {
    const { nodes, unpackedBytes } = this.#limits;
    const standing = directory.children.get(segment);
    if (standing === undefined) this.#nodes++;
    if (standing?.kind === 'file') this.#unpackedBytes -= standing.content.sizeBytes;
    if (node.kind === 'file') this.#unpackedBytes += node.content.sizeBytes;
    if (this.#nodes > nodes) throw new BadArchive(`it unpacks to more than ${nodes} files and directories`);
    if (this.#unpackedBytes > unpackedBytes) {
      throw new BadArchive(
        `it unpacks to more than ${Math.floor(unpackedBytes / 1_048_576)} MiB`,
        null,
        `The first of its files that is too much: ${JSON.stringify(name).slice(0, 200)}.`,
      );
    }
    directory.children.delete(segment);
    directory.children.set(segment, node);
  }
}

function newDirectory(parent: DirectoryNode): DirectoryNode {
  return { kind: 'directory', parent, children: new Map() };
}

/** Everything in a directory, each directory in front of what it holds. */
export function* nodesIn(root: DirectoryNode): Generator<{ path: string; node: Node; directory: DirectoryNode }> {
  const open: { prefix: string; directory: DirectoryNode }[] = [{ prefix: '', directory: root }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { prefix, directory } = next;
    for (const [name, node] of directory.children) {
      const path = prefix + name;
      yield { path, node, directory };
      if (node.kind === 'directory') open.push({ prefix: `${path}/`, directory: node });
    }
  }
}
