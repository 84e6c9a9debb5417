import type { StoredAlias } from './artifact-store.ts';
import { type StoredVersion, UnknownRecord } from './unknown-record.ts';

/** The alias that a bare artifact id means, where there is one. */
const DEFAULT_ALIAS = 'live';

/** The fields that say which version a bare artifact id means. */
export interface Deployed {
  /** Newest first. */
  readonly versions: readonly StoredVersion[];
  readonly aliases: readonly StoredAlias[];
  /** Version numbers, the one that was deployed last first; those that are missing were deployed before them, in their order. */
  readonly deployments: readonly number[];
}

/**
 * The version that a bare artifact id means: that of the alias `live` where there is one, else the one that was deployed last
 * of those that are ready, whether it was new then or an earlier one again.
 * @returns null where there is none, or the alias does not name one
 */
export function currentVersion({ versions, aliases, deployments }: Deployed): StoredVersion | null {
  const live = defaultAlias(aliases);
  if (live !== undefined) return versions.find(({ version }) => version === live.version) ?? null;
  for (const number of deployments) {
    const found = versions.find(({ version, state }) => version === number && state === 'ready');
    if (found !== undefined) return found;
  }
  return versions.find(({ state }) => state === 'ready') ?? null;
}

/** The record of an alias that does not name one version, as one of a newer release may. */
export function unknownAlias(artifactId: string, alias: string): UnknownRecord {
  return new UnknownRecord(`Alias ${alias} of ${artifactId}`, [{ where: '/', what: 'does not name one version' }]);
}

/** The alias that decides what a bare artifact id means; undefined where there is none. */
export const defaultAlias = (aliases: readonly StoredAlias[]): StoredAlias | undefined =>
  aliases.find(({ name }) => name === DEFAULT_ALIAS);
