import { BadArchive } from './bad-archive.ts';
import { utf8 } from './tar-header.ts';

/** Records of a pax header in their order: a key may come more than once. */
export type PaxRecords = readonly (readonly [key: string, value: Buffer])[];

/**
 * Reads the records of a pax header: `<length> <key>=<value>\n`, one after the other.
 * @throws BadArchive where it is none
 */
export function parsePax(bytes: Buffer): PaxRecords {
  const records: [string, Buffer][] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] === 0) break; // padded by some writers
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? '' : bytes.toString('latin1', at, space);
    const length = /^[1-9][0-9]{0,9}$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    const equals = bytes.indexOf(0x3d, space);
    if (length === 0 || end > bytes.length || bytes[end - 1] !== 0x0a || equals < 0 || equals >= end) {
      throw new BadArchive('it is damaged: a pax header cannot be read');
    }
    records.push([bytes.toString('latin1', space + 1, equals), bytes.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** The last record of a key; undefined where there is none. */
export function lastOf(records: PaxRecords, key: string): Buffer | undefined {
  return records.findLast(([name]) => name === key)?.[1];
}

/** @throws BadArchive where it is not UTF-8 or holds a NUL */
export function textOf(records: PaxRecords, key: string): string | undefined {
  const value = lastOf(records, key);
  if (value === undefined) return undefined;
  const text = utf8(value);
  if (text.includes('\0')) throw new BadArchive('has a name with a NUL in it', text);
  return text;
}

/** @throws BadArchive where it is no whole number */
export function numberOf(records: PaxRecords, key: string): number | undefined {
  const value = lastOf(records, key);
  return value === undefined ? undefined : wholeNumber(value.toString('latin1'));
}

/** @throws BadArchive where it is none */
export function wholeNumber(text: string): number {
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new BadArchive(`it is damaged: "${text.slice(0, 40)}" is no size`);
  return value;
}
