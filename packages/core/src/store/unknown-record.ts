import { SystemError } from '../errors/pilum-error.ts';
import type { Version } from '../schemas/artifact.ts';
import type { Problem } from '../schemas/check.ts';
import type { VersionState } from '../states/states.ts';

/**
 * A record that names something which this release does not know, such as a runtime of a newer one. An API shows it;
 * everything else is left to processes of the newer release.
 */
export class UnknownRecord {
  /** Subject of a sentence: `Version 3 of thumbnails`. */
  readonly noun: string;
  readonly problems: readonly Problem[];

  constructor(noun: string, problems: readonly Problem[]) {
    this.noun = noun;
    this.problems = problems;
  }

  /** A sentence for people, with everything that is unknown. */
  get says(): string {
    const problems = this.problems.map(({ where, what }) => `${where} ${what}`).join('; ');
    return `${this.noun} is of a newer release than this process, which does not know what it says: ${problems}.`;
  }

  /** Makes the error for a request that needs more of the record than to be shown it. */
  error(): SystemError {
    return new SystemError('RELEASE_TOO_OLD', { message: this.says, details: { problems: this.problems } });
  }
}

/** A version that this release cannot run. */
export class UnknownVersion extends UnknownRecord {
  readonly artifactId: string;
  readonly version: number;
  /** State as it is stored, which may be none of the known ones. */
  readonly state: VersionState;
  /** The version as an API shows it: every field, also with words that no schema of this release has. */
  readonly shown: Version;

  constructor(artifactId: string, version: number, record: Record<string, unknown>, problems: readonly Problem[]) {
    super(`Version ${version} of ${artifactId}`, problems);
    this.artifactId = artifactId;
    this.version = version;
    this.shown = { ...record, artifactId, version } as unknown as Version;
    this.state = this.shown.state;
  }

  /** Every digest that stands in it, wherever the newer release has put it. */
  get digests(): Set<string> {
    return new Set(JSON.stringify(this.shown).match(/sha256:[0-9a-f]{64}/g));
  }
}

/** A version as it was found in Redis. */
export type StoredVersion = Version | UnknownVersion;

/** Tells whether this release can run a version. */
export const isKnown = (version: StoredVersion): version is Version => !(version instanceof UnknownVersion);

/**
 * Returns a version that this release can run.
 * @throws SystemError `RELEASE_TOO_OLD` for another
 */
export function requireKnown(version: StoredVersion): Version {
  if (version instanceof UnknownVersion) throw version.error();
  return version;
}
