import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { join } from 'node:path';
import type { EngineLayer } from './engine.ts';
import { type Found, find, MAX_PATH_BYTES, pathOf } from './v8-directory.ts';
import { ERRNO, onDisk, WasiError } from './v8-errno.ts';

/** A guest's memory; an address outside of it is a RangeError. */
export interface GuestMemory {
  view(): DataView;
  bytes(from: number, size: number): Uint8Array;
}

interface OpenFile {
  readonly kind: 'file';
  readonly fd: number;
  readonly stats: BigIntStats;
  position: number;
}

interface OpenDirectory extends Found {
  readonly kind: 'directory';
  /** The path at which a guest finds the directory without having opened it itself. */
  readonly preopenedAt?: Buffer;
  /** Names of what is in it, when the guest has begun to list it. */
  names: readonly string[] | null;
}

/** The first that is no standard stream. */
const FIRST_FD = 3;
/** Files and directories that one guest may have open. packages/wasmtime/src/call.rs has the same. */
const MAX_OPEN = 256;
/** Read by one call; a guest that wants more asks again, and can be ended in between. */
const MAX_READ_BYTES = 1024 * 1024;
const LOOKUP_FOLLOW = 1;
const OPEN_FLAGS = { CREATE: 1, DIRECTORY: 2, EXCLUSIVE: 4, TRUNCATE: 8 } as const;
const TYPES = { UNKNOWN: 0, DIRECTORY: 3, FILE: 4, LINK: 7 } as const;
const WHENCE = { SET: 0, CURRENT: 1, END: 2 } as const;
/** Sizes in memory and where fields lie, bytes. */
const FDSTAT_BYTES = 24;
const FILESTAT = {
  BYTES: 64,
  DEVICE: 0,
  INODE: 8,
  TYPE: 16,
  LINKS: 24,
  SIZE: 32,
  ACCESSED: 40,
  MODIFIED: 48,
  CHANGED: 56,
};
const DIRENT = { BYTES: 24, NEXT: 0, INODE: 8, NAME_BYTES: 16, TYPE: 20 } as const;
/** Makes a set of rights from the numbers of their bits. */
const bits = (...numbers: number[]) => numbers.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n);
const WRITE = bits(6);
const FILE_RIGHTS = bits(1, 2, 5, 7, 21, 27); // read, seek, tell, advise, filestat_get, poll
const DIRECTORY_RIGHTS = bits(13, 14, 15, 18, 21); // open, readdir, readlink, path and fd filestat_get
/**
 * The rights below a directory, writing among them, which no file has: a libc then asks for it, and is refused, in place of
 * opening for nothing.
 */
const INHERITED_RIGHTS = DIRECTORY_RIGHTS | FILE_RIGHTS | WRITE;

/**
 * Descriptors from 3 on (WASI preview 1): the directories of a guest's layers, and what it has opened in them. They can be
 * read and nothing else.
 */
export class GuestFiles {
  readonly #memory: GuestMemory;
  readonly #open = new Map<number, OpenFile | OpenDirectory>();

  constructor(memory: GuestMemory) {
    this.#memory = memory;
  }

  /** The next guest's layers; everything that the one before had open is closed. */
  begin(layers: readonly EngineLayer[]): void {
    for (const fd of this.#open.keys()) this.close(fd);
    for (const { at, directory } of layers) {
      const found = find({ root: directory, way: [] }, '.', false);
      this.#open.set(this.#freeFd(), { kind: 'directory', ...found, preopenedAt: Buffer.from(at), names: null });
    }
  }

  has(fd: number): boolean {
    return this.#open.has(fd);
  }

  close(fd: number): number {
    const entry = this.#entry(fd);
    this.#open.delete(fd);
    if (entry.kind === 'file') onDisk(() => closeSync(entry.fd));
    return ERRNO.SUCCESS;
  }

  /** Makes one descriptor of another, in the place of what that was. */
  renumber(from: number, to: number): number {
    const entry = this.#entry(from);
    this.#entry(to);
    if (from === to) return ERRNO.SUCCESS;
    this.close(to);
    this.#open.delete(from);
    this.#open.set(to, entry);
    return ERRNO.SUCCESS;
  }

  prestat(fd: number, to: number): number {
    const { length } = this.#preopened(fd);
    this.#memory.view().setUint32(to, 0, true); // a directory
    this.#memory.view().setUint32(to + 4, length, true);
    return ERRNO.SUCCESS;
  }

  prestatName(fd: number, to: number, size: number): number {
    const name = this.#preopened(fd);
    if (size < name.length) throw new WasiError(ERRNO.NAMETOOLONG);
    this.#memory.bytes(to, name.length).set(name);
    return ERRNO.SUCCESS;
  }

  fdstat(fd: number, to: number): number {
    const { kind } = this.#entry(fd);
    this.#memory.bytes(to, FDSTAT_BYTES).fill(0);
    const view = this.#memory.view();
    view.setUint8(to, kind === 'file' ? TYPES.FILE : TYPES.DIRECTORY);
    view.setBigUint64(to + 8, kind === 'file' ? FILE_RIGHTS : DIRECTORY_RIGHTS, true);
    view.setBigUint64(to + 16, kind === 'file' ? 0n : INHERITED_RIGHTS, true);
    return ERRNO.SUCCESS;
  }

  filestat(fd: number, to: number): number {
    return this.#writeStats(to, this.#entry(fd).stats);
  }

  filestatAt(fd: number, flags: number, path: number, pathSize: number, to: number): number {
    const found = find(this.#directory(fd), this.#text(path, pathSize), (flags & LOOKUP_FOLLOW) !== 0);
    return this.#writeStats(to, found.stats);
  }

  readlink(fd: number, path: number, pathSize: number, to: number, size: number, usedTo: number): number {
    const found = find(this.#directory(fd), this.#text(path, pathSize), false);
    if (!found.stats.isSymbolicLink()) throw new WasiError(ERRNO.INVAL);
    const target = Buffer.from(onDisk(() => readlinkSync(pathOf(found)))).subarray(0, size);
    this.#memory.bytes(to, target.length).set(target);
    this.#memory.view().setUint32(usedTo, target.length, true);
    return ERRNO.SUCCESS;
  }

  /** @param rights what the guest wants to do with it */
  openAt(
    fd: number,
    lookup: number,
    path: number,
    pathSize: number,
    flags: number,
    rights: bigint,
    fdTo: number,
  ): number {
    const directory = this.#directory(fd);
    const text = this.#text(path, pathSize);
    const changes = OPEN_FLAGS.CREATE | OPEN_FLAGS.EXCLUSIVE | OPEN_FLAGS.TRUNCATE;
    if ((flags & changes) !== 0 || (rights & WRITE) !== 0n) throw new WasiError(ERRNO.PERM);
    const entry = this.#opened(find(directory, text, (lookup & LOOKUP_FOLLOW) !== 0), flags);
    const opened = this.#freeFd();
    this.#open.set(opened, entry);
    this.#memory.view().setUint32(fdTo, opened, true);
    return ERRNO.SUCCESS;
  }

  read(fd: number, vectors: Iterable<Uint8Array>, to: number): number {
    const file = this.#file(fd);
    file.position += this.#readAt(file, file.position, vectors, to);
    return ERRNO.SUCCESS;
  }

  readFrom(fd: number, vectors: Iterable<Uint8Array>, offset: bigint, to: number): number {
    const file = this.#file(fd);
    const position = BigInt.asUintN(64, offset);
    // Behind the end of any file there is nothing, and Node takes no such number.
    this.#readAt(file, position > file.stats.size ? Number(file.stats.size) : Number(position), vectors, to);
    return ERRNO.SUCCESS;
  }

  seek(fd: number, offset: bigint, whence: number, to: number): number {
    const file = this.#file(fd);
    const base = { [WHENCE.SET]: 0n, [WHENCE.CURRENT]: BigInt(file.position), [WHENCE.END]: file.stats.size }[whence];
    const position = base === undefined ? -1n : base + BigInt.asIntN(64, offset);
    if (position < 0n || position > BigInt(Number.MAX_SAFE_INTEGER)) throw new WasiError(ERRNO.INVAL);
    file.position = Number(position);
    return this.tell(fd, to);
  }

  tell(fd: number, to: number): number {
    this.#memory.view().setBigUint64(to, BigInt(this.#file(fd).position), true);
    return ERRNO.SUCCESS;
  }

  /** Fills a buffer with entries; the last one is cut off where it does not fit, and asked for again. */
  readdir(fd: number, to: number, size: number, cookie: bigint, usedTo: number): number {
    const directory = this.#directory(fd);
    const first = BigInt.asUintN(64, cookie);
    if (first === 0n || directory.names === null) {
      directory.names = ['.', '..', ...onDisk(() => readdirSync(pathOf(directory)))];
    }
    const { names } = directory;
    const buffer = this.#memory.bytes(to, size);
    let used = 0;
    for (let index = first < BigInt(names.length) ? Number(first) : names.length; index < names.length; index++) {
      const entry = direntOf(directory, names[index] ?? '', index + 1);
      const part = entry.subarray(0, size - used);
      buffer.set(part, used);
      used += part.length;
      if (used === size) break;
    }
    this.#memory.view().setUint32(usedTo, used, true);
    return ERRNO.SUCCESS;
  }

  /** Refuses to change something, for a descriptor that is there. */
  refuse(fd: number): number {
    this.#entry(fd);
    return ERRNO.PERM;
  }

  /** Accepts what there is nothing to do for, of a descriptor that is there. */
  accept(fd: number): number {
    this.#entry(fd);
    return ERRNO.SUCCESS;
  }

  #opened(found: Found, flags: number): OpenFile | OpenDirectory {
    const { stats } = found;
    if (this.#open.size >= MAX_OPEN) throw new WasiError(ERRNO.MFILE);
    if (stats.isDirectory()) return { kind: 'directory', ...found, names: null };
    if ((flags & OPEN_FLAGS.DIRECTORY) !== 0) throw new WasiError(ERRNO.NOTDIR);
    if (stats.isSymbolicLink()) throw new WasiError(ERRNO.LOOP);
    if (!stats.isFile()) throw new WasiError(ERRNO.PERM);
    const fd = onDisk(() => openSync(pathOf(found), constants.O_RDONLY | constants.O_NOFOLLOW));
    return { kind: 'file', fd, stats, position: 0 };
  }

  #readAt(file: OpenFile, position: number, vectors: Iterable<Uint8Array>, to: number): number {
    let total = 0;
    for (const bytes of vectors) {
      const wanted = Math.min(bytes.length, MAX_READ_BYTES - total);
      const got = wanted === 0 ? 0 : onDisk(() => readSync(file.fd, bytes, 0, wanted, position + total));
      total += got;
      if (got < bytes.length) break;
    }
    this.#memory.view().setUint32(to, total, true);
    return total;
  }

  #writeStats(to: number, stats: BigIntStats): number {
    this.#memory.bytes(to, FILESTAT.BYTES).fill(0);
    const view = this.#memory.view();
    view.setBigUint64(to + FILESTAT.DEVICE, stats.dev, true);
    view.setBigUint64(to + FILESTAT.INODE, stats.ino, true);
    view.setUint8(to + FILESTAT.TYPE, typeOf(stats));
    view.setBigUint64(to + FILESTAT.LINKS, stats.nlink, true);
    view.setBigUint64(to + FILESTAT.SIZE, stats.size, true);
    // When others have read it is none of a guest's business.
    for (const time of [FILESTAT.ACCESSED, FILESTAT.MODIFIED, FILESTAT.CHANGED]) {
      view.setBigUint64(to + time, stats.mtimeNs, true);
    }
    return ERRNO.SUCCESS;
  }

  #entry(fd: number): OpenFile | OpenDirectory {
    const entry = this.#open.get(fd);
    if (entry === undefined) throw new WasiError(ERRNO.BADF);
    return entry;
  }

  #file(fd: number): OpenFile {
    const entry = this.#entry(fd);
    if (entry.kind === 'directory') throw new WasiError(ERRNO.ISDIR);
    return entry;
  }

  #directory(fd: number): OpenDirectory {
    const entry = this.#entry(fd);
    if (entry.kind === 'file') throw new WasiError(ERRNO.NOTDIR);
    return entry;
  }

  #preopened(fd: number): Buffer {
    const entry = this.#entry(fd);
    if (entry.kind === 'file' || entry.preopenedAt === undefined) throw new WasiError(ERRNO.BADF);
    return entry.preopenedAt;
  }

  #freeFd(): number {
    let fd = FIRST_FD;
    while (this.#open.has(fd)) fd++;
    return fd;
  }

  #text(from: number, size: number): string {
    if (size > MAX_PATH_BYTES) throw new WasiError(ERRNO.NAMETOOLONG);
    try {
      return UTF8.decode(this.#memory.bytes(from, size));
    } catch (error) {
      if (error instanceof TypeError) throw new WasiError(ERRNO.ILSEQ);
      throw error;
    }
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function direntOf(directory: OpenDirectory, name: string, next: number): Buffer {
  const text = Buffer.from(name);
  const entry = Buffer.alloc(DIRENT.BYTES + text.length);
  const path = join(pathOf(directory), name);
  // Files above a layer are none of a guest's business.
  const isItself = name === '.' || name === '..';
  const stats = isItself ? directory.stats : onDisk(() => lstatSync(path, { bigint: true, throwIfNoEntry: false }));
  entry.writeBigUInt64LE(BigInt(next), DIRENT.NEXT);
  entry.writeBigUInt64LE(stats?.ino ?? 0n, DIRENT.INODE);
  entry.writeUInt32LE(text.length, DIRENT.NAME_BYTES);
  entry.writeUInt8(stats === undefined ? TYPES.UNKNOWN : typeOf(stats), DIRENT.TYPE);
  entry.set(text, DIRENT.BYTES);
  return entry;
}

function typeOf(stats: BigIntStats): number {
  if (stats.isDirectory()) return TYPES.DIRECTORY;
  return stats.isSymbolicLink() ? TYPES.LINK : TYPES.FILE;
}
