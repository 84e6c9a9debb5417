import type { Version } from '@pilum/core/schemas/artifact.ts';
import { type StoredVersion, UnknownVersion } from '@pilum/core/store/unknown-record.ts';

/** The part of a version that names its blobs. */
type Content = Pick<Version, 'code' | 'layers'>;

/**
 * Returns the blobs of a version: its code, and the files of its layers, which it keeps even if the layers are deleted. Of a version
 * that this release does not know, any digest may be a blob.
 */
export function digestsOf(version: Content | UnknownVersion): Set<string> {
  if (version instanceof UnknownVersion) return version.digests;
  const { code, layers = [] } = version;
  const all = [code?.digest, ...layers.map((layer) => layer.code.digest)];
  return new Set(all.filter((digest) => digest !== undefined));
}

/** Tells whether one of the versions needs a blob and can still run. */
export function isNeeded(digest: string, versions: readonly StoredVersion[]): boolean {
  return versions.some((version) => isUsable(version.state) && digestsOf(version).has(digest));
}

/** Tells whether a version in this state can still run, or will. */
export function isUsable(state: Version['state']): boolean {
  return state !== 'failed' && state !== 'deleted';
}
