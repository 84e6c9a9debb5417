import { createGunzip } from 'node:zlib';
import type { ArchiveLimits } from './archive-limits.ts';
import { BadArchive } from './bad-archive.ts';
import { ByteReader } from './byte-reader.ts';
import { checkGrowth } from './growth.ts';
import type { Member, Piece } from './member.ts';
import { otherFormat } from './other-format.ts';
import { numberOf, type PaxRecords, parsePax, textOf } from './pax.ts';
import { readGnuSparse, readPaxSparse, type Segment } from './sparse.ts';
import { BLOCK_BYTES, isTarHeader, readTarHeader, type TarHeader, utf8 } from './tar-header.ts';

/** The headers in front of a member that say more of it than its own can. */
interface Before {
  readonly longName?: string;
  readonly longLink?: string;
  readonly pax?: PaxRecords;
}

const NOT_CODE: Readonly<Record<string, string>> = {
  '3': 'a character device',
  '4': 'a block device',
  '6': 'a named pipe',
  D: "a directory of an incremental archive of GNU's",
  M: 'a part of a file that began in another volume',
};

/**
 * Reads the members of a tar archive, plain or gzipped, one after the other, and keeps no more of it in memory than a
 * chunk: how tar-stream and the like read would let one header of an archive take all memory there is.
 * @param archive its bytes from the beginning
 * @throws BadArchive where it is none, or one that grows past its limits
 */
export async function* readTar(archive: AsyncIterable<Buffer>, limits: ArchiveLimits): AsyncGenerator<Member> {
  const reader = new ByteReader(plain(archive, limits));
  try {
    let defaults: PaxRecords = [];
    let before: Before = {};
    for (let isFirst = true; ; isFirst = false) {
      const block = await reader.readUpTo(BLOCK_BYTES);
      if (isFirst) checkFirst(block);
      if (block.length === 0) break;
      if (block.length < BLOCK_BYTES) throw new BadArchive('it ends too early: it was cut off');
      if (block.every((byte) => byte === 0)) {
        await checkRest(reader);
        break;
      }
      const header = readTarHeader(block);
      if ('gxXLK'.includes(header.type)) {
        const bytes = await readBefore(header, reader, limits);
        if (header.type === 'g') defaults = globals(bytes);
        else if (header.type === 'L') before = { ...before, longName: untilNul(bytes) };
        else if (header.type === 'K') before = { ...before, longLink: untilNul(bytes) };
        else before = { ...before, pax: parsePax(bytes) };
      } else if (header.type === 'V') {
        await reader.skip(padded(header.sizeBytes)); // the name of a volume
      } else {
        yield* readMember(header, before, defaults, reader);
        before = {};
      }
    }
    if (Object.keys(before).length > 0) throw new BadArchive('it ends too early: it was cut off');
  } finally {
    await reader.close();
  }
}

async function* readMember(
  header: TarHeader,
  before: Before,
  defaults: PaxRecords,
  reader: ByteReader,
): AsyncGenerator<Member> {
  const pax = before.pax === undefined ? defaults : [...defaults, ...before.pax];
  let name = textOf(pax, 'path') ?? before.longName ?? header.name;
  const target = textOf(pax, 'linkpath') ?? before.longLink ?? header.linkName;
  const storedBytes = numberOf(pax, 'size') ?? header.sizeBytes;
  const start = reader.position;
  const type = typeOf(header.type, name);
  const notCode = NOT_CODE[header.type];
  if (notCode !== undefined) throw new BadArchive(`is ${notCode}, which code cannot hold`, name);
  if (type === null) throw new BadArchive(`is of a kind that is not known (${JSON.stringify(header.type)})`, name);
  let sizeBytes = storedBytes;
  let segments: readonly Segment[] = [{ at: 0, length: storedBytes }];
  let end = start + padded(storedBytes);
  if (type === 'file') {
    const isGnu = header.type === 'S';
    const sparse = isGnu
      ? await readGnuSparse({ ...header, name }, reader)
      : await readPaxSparse(pax, { ...header, name }, storedBytes, reader);
    if (sparse !== null) {
      ({ sizeBytes, segments } = sparse);
      name = sparse.name ?? name;
      if (isGnu) end = reader.position + padded(storedBytes);
    }
  } else if (storedBytes !== 0) {
    // Some programs would take what follows for its content, and some would not.
    throw new BadArchive(`is a ${type === 'link' ? 'hard link' : type} and has a content`, name);
  }
  let isTaken = false;
  yield {
    name,
    type,
    sizeBytes,
    isExecutable: (header.mode & 0o111) !== 0,
    mtimeS: header.mtimeS,
    target,
    async *pieces(): AsyncGenerator<Piece> {
      if (isTaken) throw new Error('a member can be read once');
      isTaken = true;
      for (const { at, length } of segments) {
        for (let done = 0; done < length; ) {
          const bytes = await reader.some(length - done);
          if (bytes === null) throw new BadArchive('ends too early: the archive was cut off', name);
          yield { at: at + done, bytes };
          done += bytes.length;
        }
      }
    },
  };
  isTaken = true;
  await reader.skip(end - reader.position);
}

function typeOf(type: string, name: string): Member['type'] | null {
  switch (type) {
    case '0':
    case '\0':
      return name.endsWith('/') ? 'directory' : 'file'; // as archives from before POSIX have them
    case '7':
    case 'S':
      return 'file';
    case '1':
      return 'link';
    case '2':
      return 'symlink';
    case '5':
      return 'directory';
    default:
      return null;
  }
}

async function readBefore(header: TarHeader, reader: ByteReader, { headerBytes }: ArchiveLimits): Promise<Buffer> {
  if (header.sizeBytes > headerBytes) {
    throw new BadArchive(`it has a header of more than ${headerBytes} bytes`);
  }
  const bytes = await reader.read(header.sizeBytes);
  await reader.skip(padded(header.sizeBytes) - header.sizeBytes);
  return bytes;
}

/** Fields that are said of all members that follow: git writes its commit there. */
function globals(bytes: Buffer): PaxRecords {
  const records = parsePax(bytes);
  const wrong = records.find(([key]) => ['path', 'linkpath', 'size'].includes(key) || key.startsWith('GNU.sparse.'));
  if (wrong !== undefined) throw new BadArchive(`it says "${wrong[0].slice(0, 40)}" of all its members at once`);
  return records;
}

function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return utf8(end < 0 ? bytes : bytes.subarray(0, end));
}

const padded = (bytes: number) => Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;

/** @throws BadArchive that says what it is where it is no tar archive */
function checkFirst(block: Buffer): void {
  if (isTarHeader(block) || (block.length === BLOCK_BYTES && block.every((byte) => byte === 0))) return;
  throw otherFormat(block, 'neither a tar archive nor a gzipped one');
}

/** Archives end with zeros. What follows them would be left out without a word. */
async function checkRest(reader: ByteReader): Promise<void> {
  for (let part = await reader.some(65_536); part !== null; part = await reader.some(65_536)) {
    if (part.some((byte) => byte !== 0)) {
      throw new BadArchive('it goes on after its end', null, 'Of several archives make one, instead of joining them.');
    }
  }
}

/** The bytes themselves, or what they hold where they begin as gzip does (RFC 1952, section 2.3.1). */
async function* plain(archive: AsyncIterable<Buffer>, limits: ArchiveLimits): AsyncGenerator<Buffer> {
  const source = archive[Symbol.asyncIterator]();
  let packedBytes = 0;
  const first = await source.next();
  if (first.done) return;
  async function* counted(): AsyncGenerator<Buffer> {
    try {
      for (let next: IteratorResult<Buffer> = first; !next.done; next = await source.next()) {
        packedBytes += next.value.length;
        yield next.value;
      }
    } finally {
      await source.return?.();
    }
  }
  if (first.value[0] !== 0x1f || first.value[1] !== 0x8b) {
    yield* counted();
    return;
  }
  let bytes = 0;
  for await (const chunk of gunzipped(counted())) {
    bytes += chunk.length;
    checkGrowth(bytes, packedBytes, limits);
    yield chunk;
  }
}

async function* gunzipped(packed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: 65_536 });
  const feeding = (async () => {
    try {
      for await (const chunk of packed) {
        if (gunzip.destroyed) return;
        if (!gunzip.write(chunk)) await drained(gunzip);
      }
      gunzip.end();
    } catch (error) {
      gunzip.destroy(error as Error);
    }
  })();
  try {
    for await (const chunk of gunzip) yield chunk as Buffer;
  } catch (error) {
    if (error instanceof BadArchive) throw error;
    throw new BadArchive(`it is damaged: gzip says "${error instanceof Error ? error.message : String(error)}"`);
  } finally {
    gunzip.destroy();
    await feeding;
  }
}

function drained(gunzip: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      gunzip.off('drain', done).off('close', done).off('error', done);
      resolve();
    };
    gunzip.on('drain', done).on('close', done).on('error', done);
  });
}
