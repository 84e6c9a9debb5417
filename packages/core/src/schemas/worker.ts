import { type Static, Type } from 'typebox';
import { INTERPRETER_NAME } from '../spec/interpreters.ts';
import { RUNTIME_KINDS } from '../spec/runtimes.ts';
import { WALL_NAMES } from '../spec/walls.ts';
import { INSTANCE_STATES } from '../states/states.ts';
import { Name, Timestamp, VersionNumber } from './names.ts';

const strict = { additionalProperties: false } as const;
/** The moment that is read where a record names none. */
const LONG_AGO = new Date(0).toISOString();

/** An interpreter of a worker that a spec can name. */
export const InterpreterInfo = Type.Object(
  {
    name: Type.String({ pattern: INTERPRETER_NAME }),
    version: Type.String({ description: 'For example 22.14.0.' }),
    isDefault: Type.Optional(Type.Boolean({ description: 'Whether it runs what names no interpreter.' })),
  },
  strict,
);
export type InterpreterInfo = Static<typeof InterpreterInfo>;

/** One runtime of one worker as that worker sees it now. */
export const RuntimeStatus = Type.Object(
  {
    kind: Type.Enum(RUNTIME_KINDS),
    available: Type.Boolean(),
    isolation: Type.Enum(['sandbox', 'none']),
    engine: Type.Optional(Type.String({ description: 'What runs WebAssembly, for example wasmtime 48.0.8.' })),
    /** Names of what limits an instance: for example `cgroup-v1`, `cgroup-v2`, `rlimits`, `relay` where networks are relayed. */
    limits: Type.Array(Type.String()),
    walls: Type.Optional(
      Type.Record(Type.String(), Type.Union([Type.String(), Type.Null()]), {
        description:
          'For each wall around an instance null where it is in force on this machine, else why it is not: ' +
          `${WALL_NAMES.join(', ')}. PILUM_REQUIRE names those without which nothing runs.`,
      }),
    ),
    interpreters: Type.Optional(
      Type.Array(InterpreterInfo, {
        description: 'The versions of Node and Python that a spec can name (interpreter).',
      }),
    ),
    /** Reason why it is not available, or what it does without; for a person to read. */
    notes: Type.Array(Type.String()),
  },
  strict,
);
export type RuntimeStatus = Static<typeof RuntimeStatus>;

export const InstanceInfo = Type.Object(
  {
    instanceId: Type.String(),
    workerId: Type.String(),
    namespace: Name,
    artifactId: Name,
    version: VersionNumber,
    state: Type.Enum(INSTANCE_STATES),
    createdAt: Timestamp,
    lastUsedAt: Timestamp,
    tasksRun: Type.Integer({ minimum: 0 }),
    taskId: Type.Union([Type.String(), Type.Null()]),
    secrets: Type.Optional(
      Type.Record(Type.String(), Type.Integer({ minimum: 1 }), {
        description: 'The version of each secret that it was started with, by the name of the secret.',
      }),
    ),
  },
  strict,
);
export type InstanceInfo = Static<typeof InstanceInfo>;

export const WorkerInfo = Type.Object(
  {
    workerId: Type.String(),
    host: Type.String(),
    pid: Type.Integer(),
    release: Type.String(),
    startedAt: Timestamp,
    seenAt: Timestamp,
    clockSkewMs: Type.Optional(
      Type.Integer({ description: "How far its machine's clock is ahead of Redis's, which deadlines go by, ms." }),
    ),
    runtimes: Type.Array(RuntimeStatus),
    capacity: Type.Object(
      {
        tasks: Type.Integer(),
        cpu: Type.Number({ description: 'Processors that running tasks may use together.' }),
        memoryMiB: Type.Integer({ description: 'Of all instances together.' }),
      },
      { ...strict, description: 'A task that needs more than all of it is left to other workers.' },
    ),
    running: Type.Integer({ minimum: 0, description: 'Tasks.' }),
    inUse: Type.Object(
      {
        cpu: Type.Number({ minimum: 0, description: 'By running tasks, as their limits say.' }),
        memoryMiB: Type.Integer({ minimum: 0, description: 'By instances, idle ones included, as their limits say.' }),
      },
      strict,
    ),
    draining: Type.Optional(
      Type.Boolean({ description: 'It takes nothing new, and ends when what it runs has ended.' }),
    ),
    prewarmed: Type.Optional(
      Type.Record(Type.String(), Type.Integer({ minimum: 0 }), {
        description: 'Prewarmed sandboxes that stand ready for code, by language.',
      }),
    ),
    blanks: Type.Optional(
      Type.Record(Type.String(), Type.Integer({ minimum: 0 }), {
        description: 'The same as prewarmed, under its earlier name.',
        deprecated: true,
      }),
    ),
    secretKeys: Type.Optional(
      Type.Array(Type.String(), {
        description:
          'Names of the keys for secrets that it has; without one it leaves versions with secrets to others.',
      }),
    ),
    attached: Type.Integer({ minimum: 0, description: 'Queues that it takes tasks from.' }),
  },
  strict,
);
export type WorkerInfo = Static<typeof WorkerInfo>;

// A worker of another release may have written these: a field that it lacks has a default, and its words are read as they stand.
// Code that compares them with the words that it knows finds no match.

const RuntimeRecord = Type.Object({
  ...RuntimeStatus.properties,
  kind: Type.String(),
  available: Type.Boolean({ default: false }),
  isolation: Type.String({ default: 'none' }),
  limits: Type.Array(Type.String(), { default: [] }),
  interpreters: Type.Optional(
    Type.Array(
      Type.Object({
        name: Type.String(),
        version: Type.String({ default: '' }),
        isDefault: Type.Optional(Type.Boolean()),
      }),
    ),
  ),
  notes: Type.Array(Type.String(), { default: [] }),
});

/** {@link InstanceInfo} as any release may have written it. */
export const InstanceRecord = Type.Object({
  ...InstanceInfo.properties,
  state: Type.String(),
  createdAt: Type.String({ default: LONG_AGO }),
  lastUsedAt: Type.String({ default: LONG_AGO }),
  tasksRun: Type.Integer({ minimum: 0, default: 0 }),
  taskId: Type.Union([Type.String(), Type.Null()], { default: null }),
});

/** {@link WorkerInfo} as any release may have written it. */
export const WorkerRecord = Type.Object({
  ...WorkerInfo.properties,
  host: Type.String({ default: '' }),
  pid: Type.Integer({ default: 0 }),
  release: Type.String({ default: '' }),
  startedAt: Type.String({ default: LONG_AGO }),
  seenAt: Type.String({ default: LONG_AGO }),
  runtimes: Type.Array(RuntimeRecord, { default: [] }),
  capacity: Type.Object(
    {
      tasks: Type.Integer({ default: 0 }),
      cpu: Type.Number({ default: 0 }),
      memoryMiB: Type.Integer({ default: 0 }),
    },
    { default: {} },
  ),
  running: Type.Integer({ minimum: 0, default: 0 }),
  inUse: Type.Object(
    { cpu: Type.Number({ minimum: 0, default: 0 }), memoryMiB: Type.Integer({ minimum: 0, default: 0 }) },
    { default: {} },
  ),
  attached: Type.Integer({ minimum: 0, default: 0 }),
});

/** An order of an operator to a worker. */
export const WorkerOrder = Type.Union([
  Type.Object({ order: Type.Literal('drain') }, strict),
  Type.Object({ order: Type.Literal('stop-instance'), instanceId: Type.String() }, strict),
]);
export type WorkerOrder = Static<typeof WorkerOrder>;
