import { posix } from 'node:path';
import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type Docker from 'dockerode';
import { lookInto } from './image-files.ts';
import type { ImageFacts } from './images.ts';

/** Most VOLUMEs of one image. */
const MAX_VOLUMES = 64;

/** Returns an image's VOLUMEs as the Engine understands them: absolute, each once, however they are written. */
export function volumePaths(said: readonly string[]): string[] {
  return [...new Set(said.map((path) => posix.join('/', path).replace(/(?<=.)\/$/, '')))].sort();
}

/**
 * Refuses an image whose VOLUMEs are no empty directories. A function gets each of them as a directory of its own in memory, which is
 * empty and has a size: an anonymous volume of the Engine has none, and would fill the disk of the machine.
 * @throws ArtifactError `IMAGE_UNAVAILABLE`; whatever the client throws
 */
export async function requireEmptyVolumes(
  engine: Docker,
  image: ImageFacts,
  { reference, writable = [] }: { reference: string; writable: ArtifactSpec['writable'] },
  labels: Record<string, string>,
): Promise<void> {
  const { volumes } = image;
  if (volumes.length > MAX_VOLUMES) {
    throw new ArtifactError('IMAGE_UNAVAILABLE', {
      message: `The image ${reference} has ${volumes.length} VOLUMEs; ${MAX_VOLUMES} are the most that a function can have.`,
      details: { image: reference, reason: 'volume' },
    });
  }
  // What the spec names is wanted empty, and /tmp always is.
  const others = volumes.filter((path) => path !== '/tmp' && !writable.some((place) => place.path === path));
  if (others.length === 0) return;
  const filled = await lookInto(engine, image.id, labels, async (files) => {
    for (const path of others) if (await files.hasAny(path)) return path;
    return null;
  });
  if (filled === null) return;
  throw new ArtifactError('IMAGE_UNAVAILABLE', {
    message: `The image ${reference} has files in its VOLUME ${filled}, which a function would not see: it gets an empty directory there.`,
    hint: `Build the image without this VOLUME; or name ${filled} under writable, where it can be empty.`,
    details: { image: reference, reason: 'volume' },
  });
}
