import { createHash } from 'node:crypto';
import { closeSync, fchmodSync, fstatSync, openSync, type Stats, writeFile, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import type { BlobRef } from '@pilum/core/schemas/refs.ts';

/** The source of code that is not on disk: the store in Redis. */
export interface CodeSource {
  read(ref: BlobRef): AsyncIterable<Buffer>;
}

const writeMore = promisify(writeFile);

/**
 * Writes a blob to a new file, and says what that is then.
 * @throws ArtifactError `CHECKSUM_MISMATCH` where the store has other bytes; the file then holds those
 */
export async function download(source: CodeSource, blob: BlobRef, path: string, mode: number): Promise<Stats> {
  const { digest } = blob;
  const hash = createHash('sha256');
  const file = openSync(path, 'wx');
  let size = 0;
  let stats: Stats;
  try {
    for await (const chunk of source.read(blob)) {
      hash.update(chunk);
      // A disk may be slow to take much.
      if (size === 0) writeFileSync(file, chunk);
      else await writeMore(file, chunk);
      size += chunk.length;
    }
    fchmodSync(file, mode);
    stats = fstatSync(file);
  } finally {
    closeSync(file);
  }
  const actual = `sha256:${hash.digest('hex')}`;
  if (actual !== digest) {
    throw new ArtifactError('CHECKSUM_MISMATCH', {
      message: `The store holds other bytes under ${digest}: they have the digest ${actual}.`,
      hint: 'Delete the artifacts that use this code, then upload and deploy it again.',
      details: { expected: digest, actual },
    });
  }
  return stats;
}
