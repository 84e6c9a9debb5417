import { invalid } from '../http/validation.ts';

/**
 * A first look at an archive, to refuse at once what is none. The worker checks all of it when it unpacks it.
 * @param head its first bytes, at least 512 where it has so many
 * @throws RequestError `VALIDATION_FAILED`
 */
export function checkTarHead(head: Buffer): void {
  const isGzip = head[0] === 0x1f && head[1] === 0x8b;
  if (isGzip || isTarHeader(head)) return;
  const isZip = head[0] === 0x50 && head[1] === 0x4b;
  throw invalid([
    {
      where: '/body/code/format',
      what: `says tar, but the code is ${isZip ? 'a zip archive' : 'neither a tar archive nor a gzipped one'}`,
    },
  ]);
}

/** Whether a 512-byte block carries its own checksum, as every tar header does. */
function isTarHeader(block: Buffer): boolean {
  if (block.length < 512) return false;
  const written = Number.parseInt(block.toString('latin1', 148, 156), 8);
  let sum = 0;
  for (let i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0);
  return sum === written;
}
