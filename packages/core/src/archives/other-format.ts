import { BadArchive } from './bad-archive.ts';

const WITH_GZIP = 'Pack it with gzip, tar -czf, or as a zip archive.';

/** Formats by how their files begin. */
const FORMATS: readonly (readonly [name: string, hint: string, magic: readonly number[]])[] = [
  ['a zip archive', 'Say "format": "zip".', [0x50, 0x4b]],
  ['compressed with gzip', 'A tar archive that is gzipped has "format": "tar".', [0x1f, 0x8b]],
  ['compressed with zstd', WITH_GZIP, [0x28, 0xb5, 0x2f, 0xfd]],
  ['compressed with xz', WITH_GZIP, [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ['compressed with bzip2', WITH_GZIP, [0x42, 0x5a, 0x68]],
  ['compressed with lzip', WITH_GZIP, [0x4c, 0x5a, 0x49, 0x50]],
  ['compressed with lz4', WITH_GZIP, [0x04, 0x22, 0x4d, 0x18]],
  ['compressed with compress', WITH_GZIP, [0x1f, 0x9d]],
  ['a 7z archive', WITH_GZIP, [0x37, 0x7a, 0xbc, 0xaf]],
  ['a rar archive', WITH_GZIP, [0x52, 0x61, 0x72, 0x21]],
  ['a cpio archive', WITH_GZIP, [0x30, 0x37, 0x30, 0x37, 0x30]],
];

/** The refusal of bytes that are not of the format that was said. @param otherwise what they are where nobody knows */
export function otherFormat(head: Buffer, otherwise: string): BadArchive {
  const [name, hint] = FORMATS.find(([, , magic]) => magic.every((byte, index) => head[index] === byte)) ?? [];
  return new BadArchive(`it is ${name ?? otherwise}`, null, hint, true);
}
