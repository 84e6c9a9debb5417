import { errorFromData, PilumError } from '@pilum/core/errors/pilum-error.ts';
import type { PinnedLayer, Version } from '@pilum/core/schemas/artifact.ts';
import type { RunnableVersion } from '../runtimes/contract/runtime.ts';
import type { CodeCache, HeldCode } from './code-cache.ts';

/** The caches of the two kinds of files: functions see their own code only, and each layer may be seen by many. */
export interface FileCaches {
  readonly codeCache: CodeCache;
  readonly layerCache: CodeCache;
}

/** All files that a version needs, which stay on disk until they are released. */
export interface PinnedFiles extends Pick<RunnableVersion, 'codeDirectory' | 'layers'> {
  /** Time that it took to unpack them, ms; 0 where they were there. */
  readonly unpackMs: number;
  /**
   * Checks them again, and fetches again what is not what it should be.
   * @throws what {@link CodeCache.hold} throws
   */
  verify(): Promise<void>;
  release(): void;
}

/**
 * Makes sure that code and layers of a version are on disk and right, and keeps them there.
 * @throws what {@link CodeCache.hold} throws, and of a layer its name with it; nothing is held then
 */
export async function holdFiles(caches: FileCaches, namespace: string, version: Version): Promise<PinnedFiles> {
  const { code, layers = [] } = version;
  const held: HeldCode[] = [];
  const release = () => {
    for (const one of held) one.release();
  };
  const hold = async (cache: CodeCache, location: NonNullable<Version['code']>) => {
    const one = await cache.hold(namespace, location);
    held.push(one);
    return one.directory;
  };
  const holding = await Promise.allSettled([
    code === null ? null : hold(caches.codeCache, code),
    ...layers.map((layer) => hold(caches.layerCache, layer.code).catch(namedBy(layer))),
  ]);
  const failure = holding.find((one) => one.status === 'rejected');
  if (failure !== undefined) {
    release();
    throw failure.reason;
  }
  const [codeDirectory = null, ...directories] = holding.map((one) => (one.status === 'fulfilled' ? one.value : null));
  return {
    codeDirectory,
    // They are unpacked side by side.
    unpackMs: Math.max(0, ...held.map((one) => one.unpackMs)),
    layers: layers.map(({ artifactId }, index) => ({ id: artifactId, directory: directories[index] ?? '' })),
    verify: async () => {
      await Promise.all(held.map((one) => one.verify()));
    },
    release,
  };
}

/** Names the layer in an error: with several archives a reader has to know which one. */
function namedBy({ artifactId, version }: PinnedLayer): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof PilumError)) throw error;
    throw errorFromData({ ...error.toData(), message: `Layer ${artifactId}@${version}: ${error.message}` });
  };
}
