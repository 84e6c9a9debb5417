import { Alias, Artifact, ArtifactSettings, Version } from '@pilum/core/schemas/artifact.ts';
import { ArtifactReference, Digest, Name, TaskId, VersionNumber } from '@pilum/core/schemas/names.ts';
import { Envelope, ErrorAnswer } from '@pilum/core/schemas/task.ts';
import { InstanceInfo, WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { type TProperties, Type } from 'typebox';

// The schemas that only HTTP needs: paths, pages, and combinations of the schemas of core.

const strict = { additionalProperties: false } as const;
export const strictObject = <P extends TProperties>(properties: P) => Type.Object(properties, strict);

/** The query of a route without parameters, so that unknown ones are refused instead of ignored. */
export const NoQuery = strictObject({});

export const ArtifactPath = strictObject({ id: Name });
export const ReferencePath = strictObject({ id: ArtifactReference });
export const VersionPath = strictObject({
  id: Name,
  version: Type.Integer({ minimum: 1, maximum: 999_999_999, description: 'Version number.' }),
});
export const AliasPath = strictObject({
  id: Name,
  name: Type.String({
    pattern: '^(?=.*[a-z-])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$',
    description: 'An alias: 1 to 63 of a-z, 0-9 and -, and not digits only, which would be a version number.',
  }),
});
export const BlobPath = strictObject({ digest: Digest });
export const TaskPath = strictObject({ taskId: TaskId });

export const Page = {
  limit: Type.Integer({ minimum: 1, maximum: 100, default: 20, description: 'Entries of a page.' }),
};
const Next = Type.Union([Type.String(), Type.Null()], {
  description: 'Value to give for the next page; null on the last page.',
});

export const ArtifactPage = strictObject({ artifacts: Type.Array(Artifact), next: Next });
const SettingsWarnings = Type.Optional(
  Type.Array(Type.String(), {
    description: 'Settings that exceed what the live workers can give.',
  }),
);
export const ArtifactDetail = strictObject({
  ...Artifact.properties,
  currentVersion: Type.Union([VersionNumber, Type.Null()], {
    description: 'The version that a bare artifact id means: that of the alias live, else the one deployed last.',
  }),
  warnings: Type.Optional(
    Type.Array(Type.String(), {
      description: 'Settings that exceed what the live workers can give, and what only a newer release can read.',
    }),
  ),
  versions: Type.Array(Version, { description: 'Newest first.' }),
  aliases: Type.Array(Alias),
});
export const Removal = strictObject({
  id: Name,
  cancelled: Type.Integer({ description: 'Number of waiting tasks that were cancelled.' }),
  running: Type.Integer({ description: 'Number of tasks that still run; they finish.' }),
});
export const Settings = strictObject({
  ...ArtifactSettings.properties,
  warnings: SettingsWarnings,
});

export const Blob = strictObject({ digest: Digest, sizeBytes: Type.Integer({ minimum: 0 }) });

const { result: _result, ...withoutResult } = Envelope.properties;
export const TaskPage = strictObject({
  tasks: Type.Array(strictObject({ ...withoutResult, result: Type.Optional(Envelope.properties.result) }), {
    description: 'Envelopes, newest first; with results for include=result.',
  }),
  next: Next,
});

export const Workers = strictObject({ workers: Type.Array(WorkerInfo) });
export const Instances = strictObject({ instances: Type.Array(InstanceInfo) });

export const Live = strictObject({ live: Type.Boolean() });
export const Ready = strictObject({
  ready: Type.Boolean(),
  redis: Type.Boolean({ description: 'Whether Redis answers.' }),
  workers: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Number of live workers; null if Redis is silent.',
  }),
  problems: Type.Optional(
    Type.Array(Type.String(), { description: 'Reasons why Redis cannot keep data safe; left out if there are none.' }),
  ),
});

/** An answer of bytes, as OpenAPI shows it. */
export const Bytes = Type.Unsafe<Buffer>({ type: 'string', format: 'binary' });
export const Text = Type.Unsafe<string>({ type: 'string' });
export const Nothing = Type.Unsafe<undefined>({ type: 'null' });

/** The answers that every route may give besides its own. */
export const refusals = { '4xx': ErrorAnswer, '5xx': ErrorAnswer } as const;
