import { isUtf8 } from 'node:buffer';
import type { QueuedState } from '@pilum/core/queue/task-ids.ts';
import {
  type Attempt,
  type Envelope,
  type FailedAttempt,
  type Outcome,
  type Ticket,
  waitOf,
} from '@pilum/core/schemas/task.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import { isJson } from './json-validity.ts';
import { type Shape, shapeOf } from './media-type.ts';

/** An envelope without its result, which is inserted later as JSON text. */
export type EnvelopeHead = Omit<Envelope, 'result'>;

const statusEndpointOf = (taskId: string) => `/v1/tasks/${taskId}`;

const isoOf = (ms: number) => new Date(ms).toISOString();

/** Rounds to a microsecond; finer digits mean nothing. */
const thousandths = (ms: number) => Math.round(ms * 1000) / 1000;

/** Makes the envelope of an unsettled task. */
export function pendingHead(
  ticket: Ticket,
  state: QueuedState,
  estimatedCompletionMs: number | null,
  startedAtMs: number | null = null,
): EnvelopeHead {
  const { taskId, artifactId, version, mode, acceptedAtMs, dueAtMs } = ticket;
  return {
    taskId,
    artifactId,
    version,
    mode,
    status: state,
    statusEndpoint: statusEndpointOf(taskId),
    estimatedCompletionMs,
    attempt: state === 'running' ? ticket.attempt : ticket.attempt - 1,
    recoveries: 0,
    ...(ticket.retryOf === undefined ? {} : { retryOf: ticket.retryOf }),
    workerId: null,
    instanceId: null,
    createdAt: isoOf(acceptedAtMs),
    ...(dueAtMs > acceptedAtMs ? { dueAt: isoOf(dueAtMs) } : {}),
    finishedAt: null,
    timing: {
      queuedMs: startedAtMs === null ? null : Math.max(0, startedAtMs - waitOf(ticket).sinceMs),
      fetchMs: null,
      unpackMs: null,
      startMs: null,
      loadMs: null,
      runMs: null,
      coldStart: null,
    },
  };
}

/**
 * Makes the envelope of a settled task.
 * @param isRead whether a caller has asked for the task by its id, and not called the function just now
 */
export function settledHead(outcome: Outcome, isRead: boolean): EnvelopeHead {
  const { taskId, artifactId, version, mode, status, result, error, attempt, recoveries, retryOf } = outcome;
  const { workerId, instanceId, acceptedAtMs, finishedAtMs, startedAtMs, queuedMs, coldStart } = outcome;
  const begun = startedAtMs !== null;
  const took = (ms: number | undefined) => (begun ? thousandths(ms ?? 0) : null);
  return {
    taskId,
    artifactId,
    version,
    mode,
    status,
    ...(result === undefined ? {} : { resultContentType: result.contentType }),
    ...(error === undefined ? {} : { error }),
    statusEndpoint: isRead ? statusEndpointOf(taskId) : '',
    estimatedCompletionMs: 0,
    attempt,
    recoveries,
    ...(outcome.exhausted === true && hasUsedUp(outcome) ? { exhausted: true } : {}),
    ...(retryOf === undefined ? {} : { retryOf }),
    workerId,
    instanceId,
    createdAt: isoOf(acceptedAtMs),
    finishedAt: isoOf(finishedAtMs),
    ...('progress' in outcome ? { progress: outcome.progress } : {}),
    ...(outcome.network === undefined ? {} : { network: outcome.network }),
    timing: {
      queuedMs: thousandths(queuedMs),
      fetchMs: took(outcome.fetchMs),
      unpackMs: took(outcome.unpackMs),
      startMs: took(outcome.startMs),
      loadMs: took(outcome.loadMs),
      runMs: took(outcome.runMs),
      coldStart: begun ? coldStart : null,
    },
  };
}

/** Tells whether a failed task has used several attempts, or all of its wait. */
function hasUsedUp({ attempt, error }: Outcome): boolean {
  return attempt > 1 || error?.code === 'QUEUE_TIMEOUT';
}

/** Lists all attempts that have ended, the last one included, in their order. */
export function attemptsOf(failed: readonly FailedAttempt[], outcome: Outcome | null): Attempt[] {
  const attempts = failed.map(({ attempt, workerId, instanceId, startedAtMs, finishedAtMs, runMs, error }) => ({
    attempt,
    workerId,
    instanceId,
    startedAt: isoOf(startedAtMs),
    finishedAt: isoOf(finishedAtMs),
    runMs: thousandths(runMs),
    error,
  }));
  if (outcome === null || outcome.startedAtMs === null || outcome.attempt <= failed.length) return attempts;
  const { attempt, workerId, instanceId, startedAtMs, finishedAtMs, runMs, error } = outcome;
  const last = {
    attempt,
    workerId,
    instanceId,
    startedAt: isoOf(startedAtMs),
    finishedAt: isoOf(finishedAtMs),
    runMs: thousandths(runMs),
  };
  return [...attempts, error === undefined ? last : { ...last, error }];
}

/**
 * Returns the envelope of a settled task as JSON text. The result is read from its own key if it is stored apart from the outcome.
 * @param options.attempts whether to list the attempts even if there was one only
 */
export async function settledText(
  tasks: TaskStore,
  outcome: Outcome,
  options: { readonly attempts: boolean } = { attempts: false },
): Promise<string> {
  const { attempt, startedAtMs } = outcome;
  // The outcome of a task that ended between two attempts contains no attempt.
  const hasFailed = attempt > (startedAtMs === null ? 0 : 1);
  const failed = hasFailed ? await tasks.attempts(outcome) : [];
  const head: EnvelopeHead = {
    ...settledHead(outcome, options.attempts),
    ...(options.attempts || hasFailed ? { attempts: attemptsOf(failed, outcome) } : {}),
  };
  const { result } = outcome;
  if (result === undefined) return envelopeText(head, 'null');
  const shape = shapeOf(result.contentType);
  if (result.encoding === 'utf8' && shape !== 'bytes') return envelopeText(head, textOf(shape, result.data ?? ''));
  const body = await tasks.result(outcome);
  if (body === null) return envelopeText({ ...head, resultKept: false }, 'null');
  return envelopeText(head, await resultText(shape, body));
}

/** Size from which JSON is validated in pieces, bytes, so that other requests get their turn. */
const PARSED_AT_ONCE_BYTES = 64 * 1024;

/** Returns a result as JSON text. */
async function resultText(shape: Shape, body: Buffer): Promise<string> {
  if (shape === 'bytes' || !isUtf8(body)) return JSON.stringify({ base64: body.toString('base64') });
  if (shape === 'json' && body.length > PARSED_AT_ONCE_BYTES) {
    const text = body.toString('utf8');
    return (await isJson(body)) ? text : JSON.stringify(text);
  }
  return textOf(shape, body.toString('utf8'));
}

/**
 * Returns the JSON of a result unchanged, because parsing could cost numbers their digits. The text is only validated: malformed JSON
 * would let a function write other fields of the envelope.
 */
function textOf(shape: 'json' | 'text', text: string): string {
  if (shape === 'json') {
    try {
      JSON.parse(text);
      return text;
    } catch {
      // The function called its result JSON by mistake, so it is shown as text.
    }
  }
  return JSON.stringify(text);
}

/** Returns the whole envelope as JSON text. */
export function envelopeText(head: EnvelopeHead, result: string): string {
  const { taskId, artifactId, version, mode, status, ...rest } = head;
  const before = JSON.stringify({ taskId, artifactId, version, mode, status });
  return `${before.slice(0, -1)},"result":${result},${JSON.stringify(rest).slice(1)}`;
}
