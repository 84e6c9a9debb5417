import { createHash } from 'node:crypto';
import type { Envelope } from '@pilum/core/schemas/task.ts';
import { SETTLED_STATUSES } from '@pilum/core/states/states.ts';
import type { Operation } from '../history/events.ts';
import type { History } from '../history/history.ts';
import type { HttpCall, HttpClient } from './http-client.ts';

/** A caller that has no answer so long after its wait was over gives up, ms. */
const PATIENCE_MS = 20_000;

const settledStatuses: ReadonlySet<string> = new Set(SETTLED_STATUSES);

/** What a caller learns from one call. */
export interface Learned {
  /** Null where the connection broke. */
  readonly http: number | null;
  /** Null where the answer was none about a task. */
  readonly envelope: Envelope | null;
  readonly isSettled: boolean;
}

/** Makes calls and writes into the history what was sent, what was answered, and every outcome that was shown. */
export class Caller {
  readonly client: HttpClient;
  readonly #history: History;
  #calls = 0;

  constructor(client: HttpClient, history: History) {
    this.client = client;
    this.#history = history;
  }

  /**
   * One call on behalf of one request.
   * @param waitMs how long the call says that it waits, ms; null where it does not
   * @param hangUpAfterMs the caller leaves after so long, ms; null for a caller who stays
   */
  async call(
    request: number,
    op: Operation,
    waitMs: number | null,
    call: Omit<HttpCall, 'giveUpAfterMs'>,
    hangUpAfterMs: number | null = null,
  ): Promise<Learned> {
    const number = ++this.#calls;
    this.#history.write({ type: 'sent', at: Date.now(), call: number, request, op, waitMs });
    const began = performance.now();
    const giveUpAfterMs = hangUpAfterMs ?? (waitMs ?? 0) + PATIENCE_MS;
    const answer = await this.client.call({ ...call, giveUpAfterMs });
    const elapsedMs = Math.round(performance.now() - began);
    const json = answer.http === null ? null : (JSON.parse(answer.text) as Partial<Envelope>);
    const envelope = json?.taskId !== undefined && json.status !== undefined ? (json as Envelope) : null;
    const learned: Learned = {
      http: answer.http,
      envelope,
      isSettled: envelope !== null && settledStatuses.has(envelope.status),
    };
    this.#history.write({
      type: 'answered',
      at: Date.now(),
      call: number,
      http: learned.http,
      taskId: envelope?.taskId ?? null,
      status: envelope?.status ?? null,
      code: answer.http === null ? answer.code : (json?.error?.code ?? null),
      replayed: answer.http !== null && answer.headers['idempotent-replayed'] === 'true',
      elapsedMs,
    });
    if (learned.isSettled && envelope !== null) this.saw(envelope);
    return learned;
  }

  /** Writes down the outcome that was shown. */
  saw(envelope: Envelope): void {
    const { taskId, status } = envelope;
    const result = envelope.result as { execution?: string } | null;
    const execution = result?.execution ?? null;
    const code = envelope.error?.code ?? null;
    const digest = digestOf(envelope);
    this.#history.write({ type: 'outcome', at: Date.now(), taskId, status, code, digest, execution });
  }
}

/** Of everything in an envelope that is the outcome's: how it was asked for is not. */
function digestOf(envelope: Envelope): string {
  const { taskId, status, result, error, exhausted, attempt, recoveries, workerId, instanceId } = envelope;
  const { createdAt, finishedAt, timing } = envelope;
  const facts = [taskId, status, result, error, exhausted, attempt, recoveries, workerId, instanceId];
  return createHash('sha256')
    .update(JSON.stringify([...facts, createdAt, finishedAt, timing]))
    .digest('hex')
    .slice(0, 16);
}
