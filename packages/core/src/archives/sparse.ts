import { BadArchive } from './bad-archive.ts';
import type { ByteReader } from './byte-reader.ts';
import { lastOf, numberOf, type PaxRecords, textOf, wholeNumber } from './pax.ts';
import { BLOCK_BYTES, numberAt, type TarHeader } from './tar-header.ts';

/** A part of a file that is stored; the rest of it are zeros. */
export interface Segment {
  readonly at: number;
  readonly length: number;
}

export interface SparseFile {
  /** The name where the header's own is another. */
  readonly name?: string;
  readonly sizeBytes: number;
  readonly segments: readonly Segment[];
  /** Bytes that are stored, without those that describe them. */
  readonly storedBytes: number;
}

/** Parts of one file: a description of more is refused. */
const MAX_SEGMENTS = 100_000;
const MAX_LINE = 20;

/**
 * Reads GNU's own description of a sparse file: four parts in the header, more in blocks behind it.
 * @throws BadArchive
 */
export async function readGnuSparse(header: TarHeader, reader: ByteReader): Promise<SparseFile> {
  const segments: Segment[] = [];
  const take = (block: Buffer, from: number, count: number) => {
    for (let index = 0; index < count; index++) {
      const start = from + index * 24;
      if (block[start] === 0) return;
      segments.push({ at: must(numberAt(block, start, 12)), length: must(numberAt(block, start + 12, 12)) });
    }
  };
  take(header.block, 386, 4);
  for (let isMore = header.block[482] !== 0; isMore; ) {
    const block = await reader.read(BLOCK_BYTES);
    take(block, 0, 21);
    if (segments.length > MAX_SEGMENTS) throw new BadArchive(`has more than ${MAX_SEGMENTS} holes`, header.name);
    isMore = block[504] !== 0;
  }
  return checked({ sizeBytes: must(numberAt(header.block, 483, 12)), segments, storedBytes: header.sizeBytes }, header);
}

/**
 * Reads what a pax header says of a sparse file, in any of its three ways; null where it is none.
 * @throws BadArchive
 */
export async function readPaxSparse(
  records: PaxRecords,
  header: TarHeader,
  storedBytes: number,
  reader: ByteReader,
): Promise<SparseFile | null> {
  if (!records.some(([key]) => key.startsWith('GNU.sparse.'))) return null;
  const name = textOf(records, 'GNU.sparse.name');
  const named = name === undefined ? {} : { name };
  const sizeBytes = numberOf(records, 'GNU.sparse.realsize') ?? numberOf(records, 'GNU.sparse.size');
  if (sizeBytes === undefined) throw new BadArchive('is sparse, and its size is not said', name ?? header.name);
  const major = numberOf(records, 'GNU.sparse.major') ?? 0;
  const minor = numberOf(records, 'GNU.sparse.minor') ?? 0;
  if (major === 1 && minor === 0) {
    const before = reader.position;
    const segments = await readMap(reader, storedBytes);
    const mapBytes = reader.position - before;
    return checked({ ...named, sizeBytes, segments, storedBytes: storedBytes - mapBytes }, header);
  }
  if (major !== 0)
    throw new BadArchive(`is sparse in a way that is not known (${major}.${minor})`, name ?? header.name);
  return checked({ ...named, sizeBytes, segments: segmentsIn(records), storedBytes }, header);
}

/** Version 0.1 has all numbers in one record, 0.0 a record for each. */
function segmentsIn(records: PaxRecords): Segment[] {
  const map = lastOf(records, 'GNU.sparse.map');
  const numbers =
    map === undefined
      ? records
          .filter(([key]) => key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
          .map(([, value]) => value.toString('latin1'))
      : map
          .toString('latin1')
          .split(',')
          .filter((text) => text !== '');
  return pairs(numbers.map(wholeNumber));
}

/** Version 1.0 has them in front of the content: numbers on lines of their own, filled up to whole blocks. */
async function readMap(reader: ByteReader, storedBytes: number): Promise<Segment[]> {
  let text = '';
  let readBytes = 0;
  const lines: string[] = [];
  let wanted = 1;
  while (lines.length < wanted) {
    readBytes += BLOCK_BYTES;
    if (readBytes > storedBytes + BLOCK_BYTES) throw new BadArchive('it is damaged: a sparse file has no map');
    text += (await reader.read(BLOCK_BYTES)).toString('latin1');
    const whole = text.split('\n');
    text = whole.pop() ?? '';
    if (lines.length + whole.length < wanted && text.length > MAX_LINE && !text.includes('\0')) {
      throw new BadArchive('it is damaged: a sparse file has no map');
    }
    for (const line of whole) {
      if (lines.length < wanted) lines.push(line);
      if (lines.length === 1 && wanted === 1) wanted = 1 + 2 * wholeNumber(line);
      if (wanted > 1 + 2 * MAX_SEGMENTS) throw new BadArchive(`a sparse file has more than ${MAX_SEGMENTS} holes`);
    }
  }
  return pairs(lines.slice(1).map(wholeNumber));
}

function pairs(numbers: readonly number[]): Segment[] {
  if (numbers.length % 2 !== 0 || numbers.length > 2 * MAX_SEGMENTS) {
    throw new BadArchive('it is damaged: a sparse file has no map');
  }
  const segments: Segment[] = [];
  for (let index = 0; index < numbers.length; index += 2) {
    segments.push({ at: numbers[index] ?? 0, length: numbers[index + 1] ?? 0 });
  }
  return segments;
}

/** Parts are in order, do not lie over each other, end with the file, and are what is stored. */
function checked(file: SparseFile, header: TarHeader): SparseFile {
  let end = 0;
  let stored = 0;
  for (const { at, length } of file.segments) {
    if (at < end || at + length > file.sizeBytes) {
      throw new BadArchive('is sparse, and its parts do not fit', file.name ?? header.name);
    }
    end = at + length;
    stored += length;
  }
  if (stored !== file.storedBytes)
    throw new BadArchive('is sparse, and its parts do not fit', file.name ?? header.name);
  return { ...file, segments: file.segments.filter(({ length }) => length > 0) };
}

function must(value: number | null): number {
  if (value === null) throw new BadArchive('it is damaged: a sparse file has no map');
  return value;
}
