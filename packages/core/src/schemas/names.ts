import { Type } from 'typebox';

const ID = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';

/** 1 to 63 of `a-z 0-9 -`, beginning and ending with a letter or digit: artifact ids, aliases and namespaces. */
export const Name = Type.String({
  pattern: `^${ID}$`,
  description: '1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit.',
});

/** `sha256:` and 64 lower-case hex digits. */
export const Digest = Type.String({
  pattern: '^sha256:[0-9a-f]{64}$',
  description: 'sha256: and 64 lower-case hex digits.',
});

/** `<artifactId>.<ULID>`, so that a task id alone says which queue it is in. */
export const TaskId = Type.String({
  pattern: `^${ID}\\.[0-7][0-9A-HJKMNP-TV-Z]{25}$`,
  description: '<artifactId>.<ULID>',
});

/** The artifact that a call names: `id`, `id@3` or `id@live`. */
export const ArtifactReference = Type.String({
  pattern: `^${ID}(?:@(?:[1-9][0-9]{0,8}|${ID}))?$`,
  description: 'An artifact: id, id@3 (a version) or id@live (an alias).',
});

export const VersionNumber = Type.Integer({ minimum: 1, maximum: 999_999_999 });

/** A time as ISO 8601 in UTC with milliseconds. */
export const Timestamp = Type.String({ description: 'ISO 8601, UTC.' });
