import { BadArchive } from './bad-archive.ts';

export const BLOCK_BYTES = 512;

/** The contents of one header block of a tar archive. */
export interface TarHeader {
  readonly name: string;
  readonly type: string;
  readonly sizeBytes: number;
  readonly mode: number;
  readonly mtimeS: number;
  readonly linkName: string;
  readonly block: Buffer;
}

/** Whether a block carries its own checksum, as every header of a tar archive does. */
export function isTarHeader(block: Buffer): boolean {
  if (block.length < BLOCK_BYTES) return false;
  const written = octal(block, 148, 8);
  let unsigned = 0;
  let signed = 0;
  for (let at = 0; at < BLOCK_BYTES; at++) {
    const byte = at >= 148 && at < 156 ? 0x20 : (block[at] ?? 0);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte; // some old programs took characters for signed
  }
  return written !== null && (written === unsigned || written === signed);
}

/**
 * Reads a header block. Names of longer than a hundred bytes stand elsewhere in front of it.
 * @throws BadArchive where it is none
 */
export function readTarHeader(block: Buffer): TarHeader {
  if (!isTarHeader(block)) throw new BadArchive('it is damaged: where a header should be is none');
  const name = fullName(block);
  const number = (at: number, length: number, field: string) => {
    const value = numberAt(block, at, length);
    if (value === null) throw new BadArchive(`has a ${field} that is no number`, name);
    return value;
  };
  return {
    name,
    type: String.fromCharCode(block[156] ?? 0),
    sizeBytes: number(124, 12, 'size'),
    mode: numberAt(block, 100, 8) ?? 0o644,
    mtimeS: numberAt(block, 136, 12) ?? 0,
    linkName: textAt(block, 157, 100),
    block,
  };
}

/** Its name with what POSIX puts in front of it; what GNU has in that place is something else. */
function fullName(block: Buffer): string {
  const name = textAt(block, 0, 100);
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0';
  if (!isPosix) return name;
  const isStar = block.toString('latin1', 508, 512) === 'tar\0';
  const prefix = textAt(block, 345, isStar ? 131 : 155);
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** Text up to its first NUL. @throws BadArchive where it is not UTF-8 */
export function textAt(block: Buffer, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return utf8(end < 0 ? field : field.subarray(0, end));
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** @throws BadArchive that shows the name as it can be shown */
export function utf8(bytes: Buffer): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new BadArchive(
      'has a name that is not UTF-8',
      bytes.toString('latin1'),
      'Rename it, or pack it where the locale is UTF-8.',
    );
  }
}

/** An octal number, or one in base 256 where its first bit is set; null where it is neither. */
export function numberAt(block: Buffer, at: number, length: number): number | null {
  const first = block[at] ?? 0;
  if ((first & 0x80) === 0) return octal(block, at, length);
  if (first !== 0x80) return null; // below zero, or more than there is
  let value = 0;
  for (let index = at + 1; index < at + length; index++) value = value * 256 + (block[index] ?? 0);
  return Number.isSafeInteger(value) ? value : null;
}

function octal(block: Buffer, at: number, length: number): number | null {
  const text = block
    .toString('latin1', at, at + length)
    .replace(/[\0 ]+$/, '')
    .trimStart();
  if (text === '') return 0;
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : null;
}
