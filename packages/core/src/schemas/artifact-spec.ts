import { type Static, type TProperties, Type } from 'typebox';
import { INTERPRETER_NAME } from '../spec/interpreters.ts';
import { LANGUAGE_NAMES } from '../spec/languages.ts';
import { MAX_ALLOWED, MAX_ALLOWED_LENGTH } from '../spec/networks.ts';
import { PROTOCOLS } from '../spec/protocols.ts';
import { ARTIFACT_RUNTIMES } from '../spec/runtimes.ts';
import { ArtifactReference, Digest, Name } from './names.ts';
import { SecretUses } from './secret.ts';
import { argumentText, innerPathWithExport, lineText, VARIABLE_NAME } from './text.ts';

/** Layers that one version may have. */
export const MAX_LAYERS = 32;

/** Whether the name of an image means one image for ever: its id, or a name with a digest. */
export function isFixedImage(reference: string): boolean {
  return /(^|@)sha256:[0-9a-f]{64}$/.test(reference);
}

const strict = { additionalProperties: false } as const;

/** Largest code that may stand in the spec itself, in UTF-16 units; larger code is uploaded as a blob. */
export const MAX_INLINE_CODE = 1_048_576;

export const Code = Type.Object(
  {
    inline: Type.Optional(Type.String({ maxLength: MAX_INLINE_CODE, description: 'The source itself.' })),
    digest: Type.Optional(Digest),
    format: Type.Optional(
      Type.Enum(['file', 'tar', 'zip'], {
        description: 'What the blob is: `file` by default, `tar` plain or gzipped, `zip`.',
      }),
    ),
    image: Type.Optional(
      Type.String({
        // It becomes a part of a path when the Engine is asked for it.
        pattern: '^(?=.{1,511}$)(?!.*//)(?!.*/\\.{1,2}(?:/|$))[A-Za-z0-9][A-Za-z0-9._:/@-]{0,510}$',
        description: 'A container image: name:tag, name@sha256:…, or the id sha256:… of one that no registry has.',
      }),
    ),
  },
  {
    ...strict,
    description: 'inline, or digest (with format); for runtimes with containers image, alone or beside them.',
  },
);

/** The reads of each disk that an instance has where its version does not say, and the most that it can ask for, MiB/s. */
export const DEFAULT_DISK_READ_MIBPS = 100;
export const MOST_DISK_READ_MIBPS = 65_536;

/** The network that an instance has. */
export const Network = Type.Union(
  [
    Type.Enum(['none', 'egress', 'host']),
    Type.Object(
      {
        allow: Type.Array(lineText(MAX_ALLOWED_LENGTH, { minLength: 1 }), {
          minItems: 1,
          maxItems: MAX_ALLOWED,
          uniqueItems: true,
          description:
            'Names and addresses, each with a port or for every port: api.example.com, *.example.com:443, 10.1.2.3:5432, ' +
            '10.1.0.0/16, [fd00::1]:5432.',
        }),
      },
      strict,
    ),
  ],
  {
    default: 'none',
    description:
      'none, egress for all that is public, a list of what is allowed, or host for the network of the machine, which the ' +
      'operator has to permit. Private, loopback and metadata addresses are reached where the list names them.',
  },
);

export const Limits = Type.Object(
  {
    memoryMiB: Type.Integer({ minimum: 16, maximum: 65_536, default: 256 }),
    cpu: Type.Number({ minimum: 0.05, maximum: 64, default: 1, description: 'Processors; 0.5 is half of one.' }),
    pids: Type.Integer({ minimum: 1, maximum: 4096, default: 64, description: 'Processes and threads together.' }),
    diskMiB: Type.Integer({
      minimum: 1,
      maximum: 16_384,
      default: 64,
      description: 'Size of the private /tmp, and of each VOLUME of an image.',
    }),
    outputMiB: Type.Integer({ minimum: 1, maximum: 64, default: 16, description: 'Largest result of one task.' }),
    network: Network,
    // Left out where it is not said: versions of earlier releases do not have it.
    diskReadMiBps: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MOST_DISK_READ_MIBPS,
        description:
          'What it may read of each disk of its machine, MiB/s; 100 where it is not said. What is in memory already is free.',
      }),
    ),
  },
  strict,
);

/** Longest time that a task may wait in its queue where its version does not say, ms: one that a caller waits for, and one that nobody does. */
export const CALLER_QUEUE_MS = 300_000;
export const ASYNC_QUEUE_MS = 86_400_000;

/** Longest time that a function may run where its version does not say, ms. */
export const DEFAULT_RUN_MS = 30_000;

export const Timeouts = Type.Object(
  {
    runMs: Type.Integer({ minimum: 1, maximum: 86_400_000, default: DEFAULT_RUN_MS }),
    queueMs: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 604_800_000,
        description:
          'How long a task may wait in its queue after it was due. Where it is not said, five minutes for sync calls and streams, ' +
          'and a day for async calls.',
      }),
    ),
    startMs: Type.Integer({ minimum: 1, maximum: 600_000, default: 10_000 }),
  },
  strict,
);

/** Number of times that a task is run again after a loss where its version does not say. */
export const DEFAULT_RECOVERIES = 3;

export const Retry = Type.Object(
  {
    attempts: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 1,
      description: 'How often a task may be tried in all, where the function fails.',
    }),
    // Left out where it is not said: versions of earlier releases do not have it.
    recoveries: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100,
        description:
          'How often a task may be run again because its instance or its worker died under it, which is no attempt of the ' +
          'function; 0: never, once it may have begun. 3 where it is not said.',
      }),
    ),
    backoff: Type.Object(
      {
        type: Type.Enum(['fixed', 'exponential'], { default: 'exponential' }),
        delayMs: Type.Integer({ minimum: 0, maximum: 86_400_000, default: 1000 }),
        jitter: Type.Number({ minimum: 0, maximum: 1, default: 0.5 }),
      },
      { ...strict, default: {} },
    ),
  },
  strict,
);

export const POOL_POLICIES = ['most-recent', 'round-robin', 'least-loaded', 'random'] as const;
export type PoolPolicy = (typeof POOL_POLICIES)[number];

export const Pool = Type.Object(
  {
    min: Type.Integer({
      minimum: 0,
      maximum: 1000,
      default: 0,
      description: 'Instances that each worker keeps ready for the version that a bare id means.',
    }),
    max: Type.Integer({ minimum: 1, maximum: 1000, default: 16, description: 'Instances on one worker.' }),
    concurrency: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 1,
      description: 'Tasks at once in one instance; more than 1 for http.',
    }),
    idleTimeoutMs: Type.Integer({ minimum: 0, maximum: 86_400_000, default: 60_000 }),
    healthCheckIntervalMs: Type.Integer({ minimum: 100, maximum: 3_600_000, default: 10_000 }),
    // Left out where it is not said: versions of earlier releases do not have them.
    background: Type.Optional(
      Type.Boolean({
        description:
          'Whether an instance goes on computing between calls, within limits.cpu: for a server with work of its own. By ' +
          'default it is frozen until it is called.',
      }),
    ),
    policy: Type.Optional(
      Type.Enum(POOL_POLICIES, {
        description: 'Which of several ready instances runs a task; most-recent where it is not said.',
      }),
    ),
    recycleAfterTasks: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: 'An instance is replaced after so many tasks.' }),
    ),
    recycleAfterMs: Type.Optional(
      Type.Integer({ minimum: 1000, maximum: 31_536_000_000, description: 'An instance is replaced after so long.' }),
    ),
  },
  strict,
);

export const HttpServer = Type.Object(
  {
    port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description:
          'The port that it listens on, for a server that does not go by $PORT, which says this one then; 8080 by default.',
      }),
    ),
    healthPath: Type.Optional(
      Type.String({
        pattern: '^/[!-~]{0,1023}$',
        description:
          'A path, such as /healthz. The server is ready, and an idle one well, when a GET of it answers with a status from ' +
          '200 to 399; without it, when it takes connections.',
      }),
    ),
  },
  { ...strict, description: 'For protocol http.' },
);

/** Most MiB that all writable places of an instance have together. */
export const MAX_WRITABLE_MIB = 16_384;

export const Writable = Type.Array(
  Type.Object(
    {
      path: Type.String({
        pattern: '^(?:/(?!\\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,64}){1,8}$',
        description: 'An absolute path, such as /var/cache/nginx.',
      }),
      sizeMiB: Type.Integer({ minimum: 1, maximum: MAX_WRITABLE_MIB }),
    },
    strict,
  ),
  {
    minItems: 1,
    maxItems: 16,
    description:
      'Empty directories that an instance may write into, besides /tmp; what they hold counts as memory and goes with it.',
  },
);
export type Writable = Static<typeof Writable>;

export const Cors = Type.Object(
  {
    origins: Type.Array(
      Type.String({
        pattern: '^(?:\\*|null|[a-z][a-z0-9+.-]*://[^\\s/?#@]{1,255})$',
        description: 'As browsers say them, such as https://app.example; * for all, null for pages in a sandbox.',
      }),
      { minItems: 1, maxItems: 64, uniqueItems: true },
    ),
    credentials: Type.Optional(
      Type.Boolean({ description: 'Whether these pages may have cookies of the function sent along; not with *.' }),
    ),
  },
  { ...strict, description: 'Origins whose web pages may call the function below /fn; none by default.' },
);
export type Cors = Static<typeof Cors>;

const Public = Type.Boolean({
  description: 'Whether the function is served below /fn without a key; false by default.',
});

/** The artifact spec with every default filled in: what a version holds and what an instance is started from. */
export const ArtifactSpec = Type.Object(
  {
    runtime: Type.Enum([...ARTIFACT_RUNTIMES], {
      description: 'What runs it; layer: it holds files, and runs nothing.',
    }),
    protocol: Type.Enum([...PROTOCOLS, 'none' as const], { description: 'none: of a layer, which is not called.' }),
    language: Type.Optional(Type.Enum(LANGUAGE_NAMES, { description: 'For handler; node by default.' })),
    interpreter: Type.Optional(
      Type.String({
        pattern: INTERPRETER_NAME,
        description:
          'The version of Node or Python that it runs on, such as node22 or python3.12; GET /v1/workers lists those that there ' +
          'are. For a command it is the one that PATH leads to. The default one of its worker where it is not said.',
      }),
    ),
    code: Type.Optional(Code),
    entry: Type.Optional(innerPathWithExport({ description: 'File and export, for example index.mjs#default.' })),
    command: Type.Optional(Type.Array(argumentText(4096), { minItems: 1, maxItems: 256 })),
    http: Type.Optional(HttpServer),
    public: Type.Optional(Public),
    writable: Type.Optional(Writable),
    cors: Type.Optional(Cors),
    env: Type.Record(Type.String({ pattern: VARIABLE_NAME }), argumentText(32_768), {
      default: {},
      additionalProperties: false,
      maxProperties: 256,
    }),
    // Left out where it is not said: versions of earlier releases do not have it.
    secrets: Type.Optional(SecretUses),
    limits: Type.Object(Limits.properties, { ...strict, default: {} }),
    timeouts: Type.Object(Timeouts.properties, { ...strict, default: {} }),
    retry: Type.Object(Retry.properties, { ...strict, default: {} }),
    pool: Type.Object(Pool.properties, { ...strict, default: {} }),
    dependsOn: Type.Array(ArtifactReference, {
      default: [],
      maxItems: MAX_LAYERS,
      description: 'Layers whose files it finds in /opt/<layer>. What is deployed names a version of each.',
    }),
    labels: Type.Record(Name, lineText(255), {
      default: {},
      additionalProperties: false,
      maxProperties: 64,
    }),
  },
  { ...strict, description: 'How to run an artifact.' },
);
export type ArtifactSpec = Static<typeof ArtifactSpec>;

/** The same fields, each of which may be left out. */
const optionalAll = <P extends TProperties>(properties: P) => Type.Partial(Type.Object(properties), strict);

/** The body that `PUT /v1/artifacts/{id}` takes: {@link ArtifactSpec} with everything but `runtime` left out at will. */
export const ArtifactSpecInput = Type.Object(
  {
    runtime: ArtifactSpec.properties.runtime,
    protocol: Type.Optional(
      Type.Enum(PROTOCOLS, { description: 'handler by default, or stdio where a command is given.' }),
    ),
    language: ArtifactSpec.properties.language,
    interpreter: ArtifactSpec.properties.interpreter,
    code: ArtifactSpec.properties.code,
    entry: ArtifactSpec.properties.entry,
    command: ArtifactSpec.properties.command,
    http: ArtifactSpec.properties.http,
    public: ArtifactSpec.properties.public,
    writable: ArtifactSpec.properties.writable,
    cors: ArtifactSpec.properties.cors,
    env: Type.Optional(ArtifactSpec.properties.env),
    secrets: ArtifactSpec.properties.secrets,
    limits: Type.Optional(optionalAll(Limits.properties)),
    timeouts: Type.Optional(optionalAll(Timeouts.properties)),
    retry: Type.Optional(
      Type.Object(
        {
          attempts: Type.Optional(Retry.properties.attempts),
          recoveries: Retry.properties.recoveries,
          backoff: Type.Optional(optionalAll(Retry.properties.backoff.properties)),
        },
        strict,
      ),
    ),
    pool: Type.Optional(optionalAll(Pool.properties)),
    dependsOn: Type.Optional(ArtifactSpec.properties.dependsOn),
    labels: Type.Optional(ArtifactSpec.properties.labels),
    check: Type.Optional(
      Type.Boolean({
        description:
          'Whether a worker unpacks the code and starts an instance once before the version is ready, as it does by default ' +
          'for runtime process; no part of the version.',
      }),
    ),
  },
  { ...strict, description: 'The artifact spec: everything but runtime and code has a default.' },
);
export type ArtifactSpecInput = Static<typeof ArtifactSpecInput>;
