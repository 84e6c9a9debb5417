import type { Alias, Version } from '../schemas/artifact.ts';

/** The alias that a bare artifact id means, where there is one. */
const DEFAULT_ALIAS = 'live';

/**
 * The version that a bare artifact id means: that of the alias `live` where there is one, else the newest that is ready.
 * @param versions newest first
 * @returns null where there is none
 */
export function currentVersion(versions: readonly Version[], aliases: readonly Alias[]): Version | null {
  const live = aliases.find(({ name }) => name === DEFAULT_ALIAS);
  const found =
    live === undefined
      ? versions.find(({ state }) => state === 'ready')
      : versions.find(({ version }) => version === live.version);
  return found ?? null;
}
