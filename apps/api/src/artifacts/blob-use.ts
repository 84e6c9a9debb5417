import type { Version } from '@pilum/core/schemas/artifact.ts';

/** The blobs that a version is made of: its code, and the files of its layers, which it keeps where they are deleted. */
export function digestsOf({ code, layers = [] }: Pick<Version, 'code' | 'layers'>): Set<string> {
  const all = [code?.digest, ...layers.map((layer) => layer.code.digest)];
  return new Set(all.filter((digest) => digest !== undefined));
}

/** Whether one of these versions can still be run, and needs the blob for that. */
export function isNeeded(digest: string, versions: readonly Version[]): boolean {
  return versions.some((version) => isUsable(version.state) && digestsOf(version).has(digest));
}

function isUsable(state: Version['state']): boolean {
  return state !== 'failed' && state !== 'deleted';
}
