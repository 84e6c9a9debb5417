import type { Alias, Version } from '../schemas/artifact.ts';

/** The alias that a bare artifact id means, where there is one. */
const DEFAULT_ALIAS = 'live';

/** The fields that say which version a bare artifact id means. */
export interface Deployed {
  /** Newest first. */
  readonly versions: readonly Version[];
  readonly aliases: readonly Alias[];
  /** Version numbers, the one that was deployed last first; those that are missing were deployed before them, in their order. */
  readonly deployments: readonly number[];
}

/**
 * The version that a bare artifact id means: that of the alias `live` where there is one, else the one that was deployed last
 * of those that are ready, whether it was new then or an earlier one again.
 * @returns null where there is none
 */
export function currentVersion({ versions, aliases, deployments }: Deployed): Version | null {
  const live = aliases.find(({ name }) => name === DEFAULT_ALIAS);
  if (live !== undefined) return versions.find(({ version }) => version === live.version) ?? null;
  for (const number of deployments) {
    const found = versions.find(({ version, state }) => version === number && state === 'ready');
    if (found !== undefined) return found;
  }
  return versions.find(({ state }) => state === 'ready') ?? null;
}
