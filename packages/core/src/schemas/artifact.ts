import { type Static, Type } from 'typebox';
import { ARTIFACT_RUNTIMES } from '../spec/runtimes.ts';
import { VERSION_STATES } from '../states/states.ts';
import { ArtifactSpec } from './artifact-spec.ts';
import { Digest, Name, Timestamp, VersionNumber } from './names.ts';

const strict = { additionalProperties: false } as const;

/** The location of a version's code: content-addressed, so a digest never changes its meaning. */
export const CodeLocation = Type.Object(
  {
    digest: Digest,
    format: Type.Enum(['file', 'tar', 'zip']),
    sizeBytes: Type.Integer({ minimum: 0 }),
    fileName: Type.Optional(
      Type.String({ description: 'For format file: the name that the code directory gives it.' }),
    ),
  },
  strict,
);
export type CodeLocation = Static<typeof CodeLocation>;

/** The image that a version was found to mean when it was deployed: this one is run, whatever its name means later. */
export const PinnedImage = Type.Object(
  {
    reference: Type.String({ description: 'As the spec names it.' }),
    id: Type.String({ description: 'What the Engine calls it: a hash of what it is made of.' }),
    digest: Type.Union([Type.String(), Type.Null()], {
      description: 'What its registry calls it, name@sha256:…; null for one that no registry has.',
    }),
    user: Type.String({ description: 'uid:gid of its processes.' }),
    groups: Type.Optional(
      Type.Array(Type.Integer({ minimum: 0 }), { description: 'Groups that its processes are in besides.' }),
    ),
    sizeBytes: Type.Integer({ minimum: 0 }),
  },
  strict,
);
export type PinnedImage = Static<typeof PinnedImage>;

/** The version of a layer that a version depends on, and its files: they are had also where the layer was deleted since. */
export const PinnedLayer = Type.Object({ artifactId: Name, version: VersionNumber, code: CodeLocation }, strict);
export type PinnedLayer = Static<typeof PinnedLayer>;

/** The progress of a version that is being made ready. */
export const Preparation = Type.Object(
  {
    message: Type.String(),
    workerId: Type.Union([Type.String(), Type.Null()]),
    at: Timestamp,
  },
  strict,
);
export type Preparation = Static<typeof Preparation>;

/** One immutable revision of an artifact. `null` code: the program is the machine's own (`command`). */
export const Version = Type.Object(
  {
    artifactId: Name,
    version: VersionNumber,
    state: Type.Enum(VERSION_STATES),
    contentHash: Type.String({ description: 'sha256 over spec and code digest: equal content is the same version.' }),
    spec: ArtifactSpec,
    code: Type.Union([CodeLocation, Type.Null()]),
    createdAt: Timestamp,
    layers: Type.Optional(
      Type.Array(PinnedLayer, { description: 'What dependsOn was found to mean when it was deployed.' }),
    ),
    image: Type.Optional(PinnedImage),
    preparation: Type.Optional(Preparation),
    error: Type.Optional(
      Type.Object(
        {
          code: Type.String(),
          message: Type.String(),
          hint: Type.Optional(Type.String()),
          details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
        },
        { ...strict, description: 'Why it failed.' },
      ),
    ),
  },
  strict,
);
export type Version = Static<typeof Version>;

/** The answer to a deployment. */
export const DeployedVersion = Type.Object(
  {
    ...Version.properties,
    current: Type.Boolean({
      description:
        'Whether a bare artifact id means this version now. Not where the alias live points at another, nor before it is ready.',
    }),
  },
  strict,
);

export const DEFAULT_WEIGHT = 1;
export const DEFAULT_MAX_BACKLOG = 100_000;
export const DEFAULT_MAX_BACKLOG_MIB = 1024;

/** Settings that may change at any time without a new version. */
export const ArtifactSettings = Type.Object(
  {
    paused: Type.Boolean({ default: false, description: 'Tasks are accepted and wait; none is begun.' }),
    maxConcurrency: Type.Union([Type.Integer({ minimum: 1, maximum: 100_000 }), Type.Null()], {
      default: null,
      description: 'Tasks running at once over all workers; null for no limit.',
    }),
    weight: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: DEFAULT_WEIGHT,
      description: 'Of two artifacts that wait for slots, one of weight 3 gets three for each of one of weight 1.',
    }),
    reserved: Type.Integer({
      minimum: 0,
      maximum: 10_000,
      default: 0,
      description: 'Slots of each worker that are kept free for it.',
    }),
    maxBacklog: Type.Integer({
      minimum: 1,
      maximum: 10_000_000,
      default: DEFAULT_MAX_BACKLOG,
      description: 'Tasks that may wait, delayed ones included; further ones are refused with 429.',
    }),
    maxBacklogMiB: Type.Number({
      minimum: 0.001,
      maximum: 1_048_576,
      default: DEFAULT_MAX_BACKLOG_MIB,
      description: 'Payloads of all tasks that are not finished, MiB; further ones are refused with 429.',
    }),
  },
  strict,
);
export type ArtifactSettings = Static<typeof ArtifactSettings>;

/** Settings as a caller sends them: those of later releases are known by name, and answered with 501. */
export const ArtifactSettingsInput = Type.Object(
  {
    paused: Type.Optional(Type.Boolean()),
    maxConcurrency: Type.Optional(ArtifactSettings.properties.maxConcurrency),
    maxBacklog: Type.Optional(ArtifactSettings.properties.maxBacklog),
    maxBacklogMiB: Type.Optional(ArtifactSettings.properties.maxBacklogMiB),
    weight: Type.Optional(ArtifactSettings.properties.weight),
    reserved: Type.Optional(ArtifactSettings.properties.reserved),
  },
  { ...strict, minProperties: 1 },
);
export type ArtifactSettingsInput = Static<typeof ArtifactSettingsInput>;

export const Artifact = Type.Object(
  {
    id: Name,
    namespace: Name,
    runtime: Type.Enum(ARTIFACT_RUNTIMES),
    createdAt: Timestamp,
    latestVersion: Type.Integer({ minimum: 0 }),
    settings: ArtifactSettings,
  },
  strict,
);
export type Artifact = Static<typeof Artifact>;

export const Alias = Type.Object({ name: Name, version: VersionNumber }, strict);
export type Alias = Static<typeof Alias>;
