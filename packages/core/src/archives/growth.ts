import type { ArchiveLimits } from './archive-limits.ts';
import { BadArchive } from './bad-archive.ts';

/** Bytes around the content of one member at most, on average. */
const OVERHEAD_BYTES = 1536;

/**
 * Refuses an archive that grows too far, also where nobody would unpack what comes of it.
 * @throws BadArchive
 */
export function checkGrowth(bytes: number, packedBytes: number, limits: ArchiveLimits): void {
  const { freeBytes, ratio, unpackedBytes, members } = limits;
  if (bytes > freeBytes && bytes > packedBytes * ratio) {
    throw new BadArchive(`it grows to more than ${ratio} times its size`);
  }
  if (bytes > unpackedBytes + members * OVERHEAD_BYTES) {
    throw new BadArchive(`it unpacks to more than ${Math.floor(unpackedBytes / 1_048_576)} MiB`);
  }
}
