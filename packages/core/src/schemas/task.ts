import { type Static, type TSchema, Type } from 'typebox';
import { ERROR_TABLE } from '../errors/error-table.ts';
import { SETTLED_STATUSES, TASK_STATUSES } from '../states/states.ts';
import { ASYNC_QUEUE_MS, CALLER_QUEUE_MS, DEFAULT_RUN_MS } from './artifact-spec.ts';
import type { Problem } from './check.ts';
import { HttpHead, HttpTarget } from './http-head.ts';
import { Digest, Name, TaskId, Timestamp, VersionNumber } from './names.ts';

const strict = { additionalProperties: false } as const;
/** Options of a record in Redis: a later release may have written it, and added fields. */
const record = {} as const;
const Milliseconds = Type.Integer({ minimum: 0 });
// The defaults are read where a record of another release lacks the field.
const MillisecondsOr0 = Type.Integer({ minimum: 0, default: 0 });
const Took0 = Type.Number({ minimum: 0, default: 0 });
const OrNull = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()], { default: null });

export const TASK_MODES = ['sync', 'async', 'stream'] as const;
export type TaskMode = (typeof TASK_MODES)[number];

/** An error as it stands in an answer. */
export const ErrorBody = Type.Object(
  {
    code: Type.Enum(Object.keys(ERROR_TABLE) as (keyof typeof ERROR_TABLE)[]),
    message: Type.String(),
    hint: Type.Optional(Type.String()),
    details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
    taskId: Type.Optional(TaskId),
    attempt: Type.Optional(Type.Integer()),
  },
  strict,
);
export type ErrorBody = Static<typeof ErrorBody>;
export const ErrorAnswer = Type.Object({ error: ErrorBody }, strict);

/** 0 is begun first, 9 last; within a priority, tasks are begun in the order in which they were accepted. */
export const FIRST_PRIORITY = 0;
export const USUAL_PRIORITY = 5;
export const LAST_PRIORITY = 9;

/**
 * The ticket that travels to a worker: the task as it was accepted. `payload` is here where it is small; otherwise it
 * lies beside the job as raw bytes. `encoding` says how the string stands for bytes.
 */
export const Ticket = Type.Object(
  {
    taskId: TaskId,
    namespace: Name,
    artifactId: Name,
    version: VersionNumber,
    digest: Type.Union([Digest, Type.Null()]),
    mode: Type.Enum(TASK_MODES),
    acceptedAtMs: Milliseconds,
    /** Time at which this attempt may be begun at the earliest, ms since 1970: the acceptance, a delay after it, or a back-off. */
    dueAtMs: Milliseconds,
    /** Longest time that an attempt may wait after it was due, ms. */
    queueMs: Milliseconds,
    /** The attempt that is to be run next: 1, 2, 3 … */
    attempt: Type.Integer({ minimum: 1 }),
    maxAttempts: Type.Integer({ minimum: 1 }),
    /** Number of times that it may be run again after a loss, where its version says so. */
    maxRecoveries: Type.Optional(Type.Integer({ minimum: 0 })),
    /** Starts that have failed where it waits for another one, and since when it waits in all, ms since 1970. */
    starts: Type.Optional(
      Type.Object({ failures: Type.Integer({ minimum: 1 }), sinceMs: Milliseconds, queueMs: Milliseconds }, strict),
    ),
    priority: Type.Integer({ minimum: FIRST_PRIORITY, maximum: LAST_PRIORITY }),
    /** Number of times that its job had been taken from a dead worker when this attempt was put in line. */
    stalls: Type.Optional(Type.Integer()),
    /** The task that this one repeats, by hand. */
    retryOf: Type.Optional(TaskId),
    runTimeoutMs: Type.Integer({ minimum: 1 }),
    /** Options of a streamed task. */
    stream: Type.Optional(
      Type.Object(
        {
          /** The reader that started it, and holds the function back where it reads slowly. */
          readerId: Type.String(),
          /** True where it goes on without a reader. */
          detach: Type.Boolean(),
          /** True where it may be run again after it has given a chunk. */
          restart: Type.Boolean(),
        },
        strict,
      ),
    ),
    /** Target of a call as a web endpoint; its headers are those of the request. */
    http: Type.Optional(HttpTarget),
    /** The channel on which someone waits for the outcome, if anyone does. */
    replyTo: Type.Union([Type.String(), Type.Null()]),
    contentType: Type.String(),
    /** Accepted with an Idempotency-Key. */
    keyed: Type.Boolean(),
    headers: Type.Record(Type.String(), Type.String()),
    traceparent: Type.Optional(Type.String()),
    payload: Type.Union([
      Type.Object({ encoding: Type.Enum(['utf8', 'base64']), data: Type.String() }, strict),
      Type.Object({ encoding: Type.Literal('beside'), sizeBytes: Type.Integer() }, strict),
      Type.Object({ encoding: Type.Literal('redacted'), sizeBytes: Type.Integer() }, strict),
    ]),
  },
  strict,
);
export type Ticket = Static<typeof Ticket>;

/** A ticket of schemaVersion 1, where one field said what more than one says now. */
interface TicketOfVersion1 {
  readonly queueDeadlineMs: number;
}

/**
 * Reads a ticket as it stands in Redis, also one of another release: tasks outlive an upgrade. Other fields stay in it,
 * since it may be written back; a field that it lacks has its default. {@link ticketProblems} tells whether this release can run it.
 */
export function parseTicket(text: string): Ticket {
  const ticket = JSON.parse(text) as Ticket | (Ticket & TicketOfVersion1);
  if (!('queueDeadlineMs' in ticket)) return isWhole(ticket) ? ticket : withDefaults(ticket);
  const { queueDeadlineMs, ...rest } = ticket;
  const { acceptedAtMs } = rest;
  return {
    ...rest,
    dueAtMs: acceptedAtMs,
    queueMs: queueDeadlineMs - acceptedAtMs,
    attempt: 1,
    maxAttempts: 1,
    priority: USUAL_PRIORITY,
  };
}

/** Tells whether a ticket has every field that code relies on. Quick, as each task's ticket is read a few times. */
function isWhole({ dueAtMs, queueMs, attempt, maxAttempts, priority, replyTo, headers, payload }: Ticket): boolean {
  return (
    dueAtMs !== undefined &&
    queueMs !== undefined &&
    attempt !== undefined &&
    maxAttempts !== undefined &&
    priority !== undefined &&
    replyTo !== undefined &&
    headers !== undefined &&
    payload !== undefined
  );
}

function withDefaults(ticket: Partial<Ticket>): Ticket {
  const { acceptedAtMs = Date.now(), mode = 'async' } = ticket;
  const defaults = {
    digest: null,
    mode,
    acceptedAtMs,
    dueAtMs: acceptedAtMs,
    queueMs: mode === 'async' ? ASYNC_QUEUE_MS : CALLER_QUEUE_MS,
    attempt: 1,
    maxAttempts: 1,
    priority: USUAL_PRIORITY,
    runTimeoutMs: DEFAULT_RUN_MS,
    replyTo: null,
    contentType: 'application/octet-stream',
    keyed: false,
    headers: {},
    payload: { encoding: 'beside', sizeBytes: 0 },
  };
  return { ...defaults, ...ticket } as Ticket;
}

/** Lists what a ticket of a newer release asks for that this release does not know; nothing for almost every ticket. */
export function ticketProblems({ mode, payload: { encoding } }: Ticket): Problem[] {
  if (TASK_MODES.includes(mode) && PAYLOAD_ENCODINGS.includes(encoding)) return [];
  const problems = [];
  if (!TASK_MODES.includes(mode)) problems.push({ where: '/mode', what: `is ${JSON.stringify(mode)}` });
  if (!PAYLOAD_ENCODINGS.includes(encoding)) {
    problems.push({ where: '/payload/encoding', what: `is ${JSON.stringify(encoding)}` });
  }
  return problems;
}

const PAYLOAD_ENCODINGS: readonly Ticket['payload']['encoding'][] = ['utf8', 'base64', 'beside', 'redacted'];

/** Copies from a ticket what its outcome keeps: which task it was, and how it was accepted. */
export function identityOf(ticket: Ticket) {
  const { taskId, namespace, artifactId, version, mode, keyed, acceptedAtMs, retryOf } = ticket;
  const identity = { taskId, namespace, artifactId, version, mode, keyed, acceptedAtMs };
  return retryOf === undefined ? identity : { ...identity, retryOf };
}

/** Since when this attempt has waited, ms since 1970, and how long it may in all, ms: also where it was put off for want of an instance. */
export function waitOf({ dueAtMs, queueMs, starts }: Pick<Ticket, 'dueAtMs' | 'queueMs' | 'starts'>) {
  return starts === undefined ? { sinceMs: dueAtMs, queueMs } : starts;
}

/** Size of a task's payload, bytes. */
export function payloadSize({ payload }: Ticket): number {
  if ('data' in payload) return Buffer.byteLength(payload.data, payload.encoding);
  // One in a form of a newer release may not say its size in this field.
  return payload.sizeBytes ?? 0;
}

/** An error as it is recorded. */
const RecordedError = Type.Object(
  {
    code: ErrorBody.properties.code,
    message: Type.String(),
    hint: Type.Optional(Type.String()),
    details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  },
  strict,
);

/** One try at a task that failed and was followed by another. The last try is in the outcome. */
export const FailedAttempt = Type.Object(
  {
    attempt: Type.Integer({ minimum: 1 }),
    workerId: Type.String({ default: '' }),
    instanceId: OrNull(Type.String()),
    startedAtMs: MillisecondsOr0,
    finishedAtMs: MillisecondsOr0,
    runMs: Took0,
    error: RecordedError,
    /** Time at which the next one is due, ms since 1970. */
    retryAtMs: MillisecondsOr0,
  },
  record,
);
export type FailedAttempt = Static<typeof FailedAttempt>;

/** A result as it stands in an outcome: small ones in it, large ones beside it as raw bytes. */
export const StoredResult = Type.Object(
  {
    contentType: Type.String(),
    sizeBytes: Type.Integer({ minimum: 0 }),
    encoding: Type.Enum(['utf8', 'base64', 'beside']),
    data: Type.Optional(Type.String()),
    /** Head of a web endpoint's answer that came as a whole: the result is its body, as it was sent. */
    head: Type.Optional(HttpHead),
  },
  record,
);
export type StoredResult = Static<typeof StoredResult>;

/** Uses of a network by one task, where it is counted. */
export const NetworkUse = Type.Object(
  {
    connections: Type.Integer({ minimum: 0, description: 'That came about.' }),
    sentBytes: Type.Integer({ minimum: 0, description: 'By the function.' }),
    receivedBytes: Type.Integer({ minimum: 0 }),
    refused: Type.Array(Type.String(), {
      description: 'Names and addresses that limits.network does not open, the last ones.',
    }),
  },
  record,
);
export type NetworkUse = Static<typeof NetworkUse>;

/** Refusals that the record of a task names. */
export const MOST_REFUSED = 16;

/** The one final record of a task. */
export const Outcome = Type.Object(
  {
    taskId: TaskId,
    namespace: Name,
    artifactId: Name,
    version: VersionNumber,
    mode: Type.Enum(TASK_MODES, { default: 'async' }),
    status: Type.Enum(SETTLED_STATUSES),
    keyed: Type.Boolean({ default: false }),
    result: Type.Optional(StoredResult),
    error: Type.Optional(RecordedError),
    /** True where another attempt might have helped and there was none left, or the wait in the queue was used up. */
    exhausted: Type.Optional(Type.Boolean()),
    retryOf: Type.Optional(TaskId),
    attempt: Type.Integer({ minimum: 0, default: 0, description: '0: it was never begun.' }),
    recoveries: Type.Integer({ minimum: 0, default: 0 }),
    workerId: OrNull(Type.String()),
    instanceId: OrNull(Type.String()),
    acceptedAtMs: MillisecondsOr0,
    startedAtMs: OrNull(Milliseconds),
    finishedAtMs: MillisecondsOr0,
    /** Time that it took to read version, payload and code, and all that is counted nowhere else, ms. */
    fetchMs: Type.Optional(Type.Number({ minimum: 0 })),
    /** Time that it took to unpack code and layers, ms; left out where they were there. */
    unpackMs: Type.Optional(Type.Number({ minimum: 0 })),
    /** Time that it took to get an instance, ms, also where there was none in the end. */
    startMs: Took0,
    /** Time that a new instance took to load the code, or to listen, ms; left out for one that was there. */
    loadMs: Type.Optional(Type.Number({ minimum: 0 })),
    runMs: Took0,
    queuedMs: Took0,
    coldStart: Type.Boolean({ default: false }),
    /** Number of its last frame, where it has given any. */
    frames: Type.Optional(Type.Integer({ minimum: 1 })),
    /** The last that it said of its progress. */
    progress: Type.Optional(Type.Unknown()),
    /** Use of the network that limits.network opens; left out where it has none, or that of the host. */
    network: Type.Optional(NetworkUse),
  },
  record,
);
export type Outcome = Static<typeof Outcome>;

const Took = (description: string) => Type.Union([Type.Number(), Type.Null()], { description });

export const Timing = Type.Object(
  {
    queuedMs: Took('In its queue, from when it was due.'),
    fetchMs: Took('Version, payload and code were read, and whatever is counted nowhere else.'),
    unpackMs: Took('Code and layers were unpacked.'),
    startMs: Took('An instance was started, or waited for.'),
    loadMs: Took('A new instance loaded the code, or began to listen.'),
    runMs: Took('The function ran.'),
    coldStart: Type.Union([Type.Boolean(), Type.Null()], { description: 'Whether an instance was started for it.' }),
  },
  {
    ...strict,
    description: 'Where the time went, ms; together from when it was due to its end. null before it was begun.',
  },
);

/** One try at a task. */
export const Attempt = Type.Object(
  {
    attempt: Type.Integer({ minimum: 1 }),
    workerId: Type.Union([Type.String(), Type.Null()]),
    instanceId: Type.Union([Type.String(), Type.Null()]),
    startedAt: Timestamp,
    finishedAt: Timestamp,
    runMs: Type.Number(),
    error: Type.Optional(ErrorBody),
  },
  strict,
);
export type Attempt = Static<typeof Attempt>;

/** The answer to a call, and what `GET /v1/tasks/{taskId}` answers. */
export const Envelope = Type.Object(
  {
    taskId: TaskId,
    artifactId: Name,
    version: VersionNumber,
    mode: Type.Enum(TASK_MODES),
    status: Type.Enum(TASK_STATUSES),
    result: Type.Unknown({
      description: 'The value where the function returned JSON, a string where text, {"base64": …} for other bytes.',
    }),
    resultContentType: Type.Optional(Type.String()),
    resultKept: Type.Optional(
      Type.Literal(false, {
        description:
          'It completed, and its result is no longer kept: the tasks of its artifact held more than they may.',
      }),
    ),
    error: Type.Optional(ErrorBody),
    statusEndpoint: Type.String(),
    estimatedCompletionMs: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()], {
      description: 'From the measured waits and run times of this artifact; null while there are none.',
    }),
    attempt: Type.Integer({ description: 'The attempt that it is at or ended with; 0: none was begun.' }),
    attempts: Type.Optional(
      Type.Array(Attempt, { description: 'Each try that has ended, in order; where one asks for a single task.' }),
    ),
    recoveries: Type.Integer({
      description: 'How often it was run again because an instance or a worker died under it.',
    }),
    exhausted: Type.Optional(
      Type.Boolean({ description: 'It failed and has used all its attempts, or all of its wait in the queue.' }),
    ),
    retryOf: Type.Optional(TaskId),
    workerId: Type.Union([Type.String(), Type.Null()]),
    instanceId: Type.Union([Type.String(), Type.Null()]),
    createdAt: Timestamp,
    dueAt: Type.Optional(Timestamp),
    finishedAt: Type.Union([Timestamp, Type.Null()]),
    progress: Type.Optional(Type.Unknown({ description: 'The last that the function said with context.progress(…).' })),
    network: Type.Optional(
      Type.Object(NetworkUse.properties, {
        ...strict,
        description:
          'What it used of the network that limits.network opens. Calls that run at once in one instance share it: each is ' +
          'counted what was used since another was told.',
      }),
    ),
    timing: Timing,
  },
  strict,
);
export type Envelope = Static<typeof Envelope>;
