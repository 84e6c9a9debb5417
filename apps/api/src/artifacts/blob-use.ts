import type { Version } from '@pilum/core/schemas/artifact.ts';

/** Returns the blobs of a version: its code, and the files of its layers, which it keeps even if the layers are deleted. */
export function digestsOf({ code, layers = [] }: Pick<Version, 'code' | 'layers'>): Set<string> {
  const all = [code?.digest, ...layers.map((layer) => layer.code.digest)];
  return new Set(all.filter((digest) => digest !== undefined));
}

/** Tells whether one of the versions needs a blob and can still run. */
export function isNeeded(digest: string, versions: readonly Version[]): boolean {
  return versions.some((version) => isUsable(version.state) && digestsOf(version).has(digest));
}

/** Tells whether a version in this state can still run, or will. */
export function isUsable(state: Version['state']): boolean {
  return state !== 'failed' && state !== 'deleted';
}
