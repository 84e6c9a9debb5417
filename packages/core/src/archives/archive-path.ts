import type { ArchiveLimits } from './archive-limits.ts';
import { BadArchive } from './bad-archive.ts';

/**
 * Takes a name apart as it is written in an archive. An empty list is the archive's own directory.
 * @throws BadArchive for one that no archive of code has
 */
export function segmentsOf(name: string, limits: ArchiveLimits): string[] {
  if (name === '') throw new BadArchive('it has a member without a name');
  if (Buffer.byteLength(name) > limits.pathBytes) {
    throw new BadArchive(`has a path of more than ${limits.pathBytes} bytes`, name);
  }
  if (/[\u0000-\u001f\u007f]/.test(name))
    throw new BadArchive('has a character in its name that cannot be shown', name);
  if (name.startsWith('/')) throw new BadArchive('lies outside of the archive: its path is absolute', name);
  const segments = name.split('/').filter((segment) => segment !== '' && segment !== '.');
  if (segments.includes('..')) throw new BadArchive('lies outside of the archive: its path has ".." in it', name);
  if (segments.some((segment) => Buffer.byteLength(segment) > limits.nameBytes)) {
    throw new BadArchive(`has a name of more than ${limits.nameBytes} bytes`, name);
  }
  if (segments.length > limits.depth) throw new BadArchive(`lies more than ${limits.depth} directories deep`, name);
  return segments;
}
