import type { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { type Entry, fromBufferPromise, fromFdPromise, getFileNameLowLevel, type ZipFile } from 'yauzl';
import type { ArchiveLimits } from './archive-limits.ts';
import { BadArchive } from './bad-archive.ts';
import { checkGrowth } from './growth.ts';
import type { Member, Piece } from './member.ts';
import { otherFormat } from './other-format.ts';
import { utf8 } from './tar-header.ts';

/** Value of `versionMadeBy` with which the mode of a file stands beside it. */
const SYSTEMS_WITH_MODES = [3, 19];
const TYPE_BITS = 0o170000;
const TYPES: ReadonlyMap<number, Member['type']> = new Map([
  [0o100000, 'file'],
  [0o040000, 'directory'],
  [0o120000, 'symlink'],
]);
const METHODS: Readonly<Record<number, string>> = { 9: 'Deflate64', 12: 'bzip2', 14: 'LZMA', 93: 'zstd', 95: 'xz' };
const STORED = 0;
/** The beginning of an absolute path of Windows. */
const DRIVE = /^[A-Za-z]:[\\/]/;
/** The words of the reader for an archive with something in front of it or behind it. */
const HAS_MORE = /extra bytes at the end|invalid central directory file header signature/i;
const DEFLATED = 8;
const IS_ENCRYPTED = 0x1;
const IS_UTF8 = 0x800;
const LOCAL_HEADER_BYTES = 30;

/** An archive that is on disk as an open file, or in memory. */
export type ZipSource = { readonly file: number } | { readonly bytes: Buffer };

/**
 * Reads the members of a zip archive as its directory lists them. What stands in front of each member has to say the
 * same, and no two of them may share bytes.
 * @param isChecked whether content that nobody reads is read all the same, to see whether it is whole
 * @throws BadArchive where it is none, or one that grows past its limits
 */
export async function* readZip(source: ZipSource, limits: ArchiveLimits, isChecked: boolean): AsyncGenerator<Member> {
  // It is not closed: that would close the file under whoever takes another look at it.
  const zip = await open(source);
  const entries = await entriesOf(zip, limits);
  for (const { entry, name } of entries) yield* readEntry(zip, entry, name, limits, isChecked);
}

async function open(source: ZipSource): Promise<ZipFile> {
  const options = { autoClose: false, decodeStrings: false, validateEntrySizes: true };
  try {
    return await ('file' in source ? fromFdPromise(source.file, options) : fromBufferPromise(source.bytes, options));
  } catch (error) {
    if ('bytes' in source && source.bytes.toString('latin1', 0, 2) !== 'PK') {
      throw otherFormat(source.bytes.subarray(0, 512), 'no zip archive');
    }
    throw damaged(error);
  }
}

async function entriesOf(zip: ZipFile, limits: ArchiveLimits): Promise<{ entry: Entry; name: string }[]> {
  if (zip.entryCount > limits.members) throw new BadArchive(`it has more than ${limits.members} entries`);
  const entries: { entry: Entry; name: string }[] = [];
  const spans: { from: number; to: number; name: string }[] = [];
  let unpacked = 0;
  try {
    for await (const entry of zip.eachEntry()) {
      const name = nameOf(entry);
      unpacked += entry.uncompressedSize;
      checkGrowth(unpacked, zip.fileSize, limits);
      checkEntry(entry, name);
      const local = await zip.readLocalFileHeaderPromise(entry);
      if (!local.fileName.equals(entry.fileNameRaw)) {
        throw new BadArchive(`is called ${JSON.stringify(local.fileName.toString('latin1'))} elsewhere in it`, name);
      }
      const from = entry.relativeOffsetOfLocalHeader;
      const end = local.fileDataStart + entry.compressedSize;
      spans.push({ from, to: Math.max(end, from + LOCAL_HEADER_BYTES), name });
      entries.push({ entry, name });
    }
  } catch (error) {
    throw damaged(error);
  }
  spans.sort((a, b) => a.from - b.from);
  for (const [index, { from, name }] of spans.entries()) {
    const before = spans[index - 1];
    if (before !== undefined && from < before.to) throw new BadArchive(`shares its bytes with ${before.name}`, name);
  }
  return entries;
}

function checkEntry({ generalPurposeBitFlag, compressionMethod }: Entry, name: string): void {
  if (DRIVE.test(name)) throw new BadArchive('lies outside of the archive: its path begins with a drive', name);
  if ((generalPurposeBitFlag & IS_ENCRYPTED) !== 0) {
    throw new BadArchive('is encrypted', name, 'Pack it without a password: code is readable for who may deploy.');
  }
  if (compressionMethod !== STORED && compressionMethod !== DEFLATED) {
    const method = METHODS[compressionMethod] ?? `method ${compressionMethod}`;
    throw new BadArchive(`is compressed with ${method}`, name, 'Pack it with Deflate, as zip -r does.');
  }
}

async function* readEntry(
  zip: ZipFile,
  entry: Entry,
  name: string,
  limits: ArchiveLimits,
  isChecked: boolean,
): AsyncGenerator<Member> {
  const hasMode = SYSTEMS_WITH_MODES.includes(entry.versionMadeBy >> 8);
  const mode = hasMode ? entry.externalFileAttributes >>> 16 : 0;
  const type = typeOf(mode, name);
  if (type !== 'file' && type !== 'symlink' && entry.uncompressedSize > 0) {
    throw new BadArchive(`is a ${type} and has a content`, name);
  }
  let isTaken = type !== 'file';
  async function* pieces(): AsyncGenerator<Piece> {
    isTaken = true;
    yield* contentOf(zip, entry, name);
  }
  yield {
    name,
    type,
    sizeBytes: type === 'file' ? entry.uncompressedSize : 0,
    isExecutable: (mode & 0o111) !== 0,
    mtimeS: Math.floor(entry.getLastModDate({ timezone: 'UTC' }).getTime() / 1000) || null,
    target: type === 'symlink' ? await targetOf(zip, entry, name, limits) : '',
    pieces,
  };
  if (isTaken || !isChecked) return;
  for await (const _piece of pieces()) {
    // To its end, where its checksum is.
  }
}

function typeOf(mode: number, name: string): Member['type'] {
  if (name.endsWith('/')) return 'directory';
  if ((mode & TYPE_BITS) === 0) return 'file';
  const type = TYPES.get(mode & TYPE_BITS);
  if (type === undefined) throw new BadArchive('is a device or a pipe, which code cannot hold', name);
  return type;
}

async function* contentOf(zip: ZipFile, entry: Entry, name: string): AsyncGenerator<Piece> {
  let at = 0;
  let sum = 0;
  try {
    const stream: Readable = await zip.openReadStreamPromise(entry);
    for await (const chunk of stream) {
      const bytes = chunk as Buffer;
      sum = crc32(bytes, sum);
      yield { at, bytes };
      at += bytes.length;
    }
  } catch (error) {
    throw damaged(error, name);
  }
  if (sum !== entry.crc32) throw new BadArchive('is damaged: its checksum is another', name);
}

async function targetOf(zip: ZipFile, entry: Entry, name: string, limits: ArchiveLimits): Promise<string> {
  if (entry.uncompressedSize > limits.pathBytes) throw new BadArchive('is a link whose target is no path', name);
  const parts: Buffer[] = [];
  for await (const { bytes } of contentOf(zip, entry, name)) parts.push(bytes);
  return utf8(Buffer.concat(parts));
}

/** In UTF-8 where it says so, or could be; else in the code page that DOS had. */
function nameOf(entry: Entry): string {
  const raw = entry.fileNameRaw;
  if ((entry.generalPurposeBitFlag & IS_UTF8) !== 0) return utf8(raw).replaceAll('\\', '/');
  return getFileNameLowLevel(entry.generalPurposeBitFlag, raw, entry.extraFields, false);
}

function damaged(error: unknown, name: string | null = null): BadArchive {
  if (error instanceof BadArchive) return error;
  const said = error instanceof Error ? error.message : String(error);
  if (name === null && HAS_MORE.test(said)) {
    const hint = 'Send the archive alone: one that unpacks itself, or was joined with something, is none.';
    return new BadArchive('it has bytes in front of it or behind it that are no part of it, or is damaged', null, hint);
  }
  const what = `damaged, or no such archive: ${said.replace(/[.?]$/, '')}`;
  return new BadArchive(name === null ? `it is ${what}` : `is ${what}`, name);
}
