import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { artifactKeys, CHANNEL_CANCEL, qualifiedTaskId, queueKeysOf, taskKeys, ULID_LENGTH } from '../redis/keys.ts';
import type { ScriptValues } from '../redis/script.ts';
import { sharedNow } from '../redis/shared-time.ts';
import type { ArtifactRef, TaskRef } from '../schemas/refs.ts';
import {
  type FailedAttempt,
  type Outcome,
  parseTicket,
  payloadSize,
  type Ticket,
  ticketProblems,
} from '../schemas/task.ts';
import { SETTLED_STATUSES, type SettledStatus } from '../states/states.ts';
import { boundedAttempt, boundedOutcome } from './bounded-record.ts';
import { LIGHT_BYTES } from './kept-scripts.ts';
import { parseAttempt, parseOutcome } from './read-outcome.ts';
import { parseStats, type Stats, statsField } from './stats.ts';
import { TaskIndex } from './task-index.ts';
import { CLAIM, CLAIM_FIELD, CLAIM_KEY, RECORD_ATTEMPT, SETTLE, type SETTLE_ARGS } from './task-scripts.ts';
import { UnknownRecord } from './unknown-record.ts';

/** Payloads and results up to this many bytes travel inside job and outcome; larger ones lie beside them. */
export const INLINE_LIMIT_BYTES = 32 * 1024;

/** Tasks with an Idempotency-Key keep outcome and key at least this long, s. */
export const IDEMPOTENCY_RETENTION_S = 24 * 3600;

/** Time for recoveries that what belongs to a task outlives its own deadlines by, s. */
const RECOVERY_SLACK_S = 2 * 24 * 3600;

/** Time that Redis holds what belongs to a task beside its job if nothing more is heard of the task, s. */
export function unsettledLifetimeS({ dueAtMs, queueMs, runTimeoutMs }: Ticket): number {
  return Math.ceil(Math.max(0, dueAtMs + queueMs + runTimeoutMs - sharedNow()) / 1000) + RECOVERY_SLACK_S;
}

/** Time that a result waits for the outcome that is sent behind it, s. */
const STAGED_S = 60;

export interface Retention {
  /** Outcomes leave this long after the end of their task, s. */
  readonly ageS: number;
  /** The same of tasks that failed or timed out, s; as the others where it is not said. */
  readonly failedAgeS?: number;
  /** Outcomes that are kept per artifact and status. */
  readonly count: number;
  /** Frames leave this long after the end of their task, s. */
  readonly framesAgeS: number;
  /** Bytes that the settled tasks of one artifact may hold together; the oldest results, logs and frames go first. */
  readonly mostBytes?: number;
}

/** Bytes that the settled tasks of one artifact may hold together where nothing else is said. */
const USUAL_KEPT_BYTES = 512 * 1_048_576;

/** The results of a task that are kept beside its outcome. */
export interface Beside {
  /** Lines of its log, where none is stored yet; see {@link packLines}. */
  readonly log?: string;
  /** A result that is too large to lie in the outcome. */
  readonly result?: Buffer;
  /** Nothing else lies beside its job: neither a payload nor output nor anything of an earlier attempt or run. */
  readonly isAlone?: boolean;
}

/** An outcome on its way into Redis: key and arguments of settle.lua. */
export interface Settlement {
  readonly outcome: Outcome;
  /** The outcome as it will stand. */
  readonly text: string;
  readonly args: ScriptValues<['queue'], typeof SETTLE_ARGS>;
  /** Runs the script, after what it needs beside its arguments. May be called again where Redis did not take it. */
  send<T>(run: (settlement: Settlement) => Promise<T>): Promise<T>;
}

/** The outcome that stood before, of what the script has returned; null where this one stands now. */
export function standingOutcome({ text }: Settlement, standing: unknown): Outcome | null {
  // The same again: the connection broke before the answer came, and the command was sent once more.
  return typeof standing === 'string' && standing !== text ? parseOutcome(standing) : null;
}

/** Stats of one artifact over all its tasks, by any worker. */
export interface ArtifactStats {
  readonly settled: Readonly<Record<SettledStatus, number>>;
  /** Sum over all tasks that were run, ms. */
  readonly runMsSum: number;
  /** Running averages over completed tasks, ms; null before the first. */
  readonly averageRunMs: number | null;
  readonly averageQueuedMs: number | null;
}

/** Outcomes, and what belongs to a task beside its job: payload, result, attempts. */
export class TaskStore {
  readonly #redis: Redis;
  readonly #retention: Retention;
  /** The newest tasks of each namespace. */
  readonly index: TaskIndex;

  constructor(redis: Redis, retention: Retention) {
    this.#redis = redis;
    this.#retention = retention;
    this.index = new TaskIndex(redis);
  }

  /** Bytes that the settled tasks of one artifact may hold together. */
  get mostBytes(): number {
    return this.#retention.mostBytes ?? USUAL_KEPT_BYTES;
  }

  /**
   * Records a task's outcome unless it has one, and with it what the task came to besides.
   * @returns null where this outcome stands now, else the one that stood before.
   */
  async settle(ticket: Ticket, outcome: Outcome, beside: Beside = {}): Promise<Outcome | null> {
    return await this.settleAs(this.settlement(ticket, outcome, beside));
  }

  /** As {@link settle}. */
  async settleAs(settlement: Settlement): Promise<Outcome | null> {
    const standing = await settlement.send(({ args }) => SETTLE.run(this.#redis, args));
    return standingOutcome(settlement, standing);
  }

  /**
   * Makes what {@link settle} writes, for a script that does more in the same step.
   * @param beside what the task came to besides
   */
  settlement(ticket: Ticket, outcome: Outcome, beside: Beside = {}): Settlement {
    const { taskId, replyTo } = ticket;
    const { log = '', result, isAlone = false } = beside;
    const stagedResult = result === undefined ? '' : taskKeys(ticket).stagedResult(randomUUID());
    const text = outcomeText(outcome);
    if (outcome.status !== 'completed') this.index.note('unsuccessful', ticket);
    const settlement: Settlement = {
      outcome,
      text,
      args: {
        queue: queueKeysOf(ticket),
        taskId,
        outcome: text,
        ageS: this.#ageS(outcome),
        keptCount: this.#retention.count,
        replyTo: replyTo ?? '',
        status: outcome.status,
        runMs: outcome.runMs,
        queuedMs: outcome.queuedMs,
        payloadBytes: payloadSize(ticket),
        logLines: log,
        stagedResult,
        retryTicket: outcome.status === 'completed' ? '' : JSON.stringify(ticket),
        framesAgeS: isAlone ? '' : Math.min(this.#retention.framesAgeS, this.#ageS(outcome)),
        isKeyed: outcome.keyed ? 1 : 0,
        mostKeptBytes: this.mostBytes,
      },
      send: async (run) => {
        const staging = result === undefined ? null : this.#redis.set(stagedResult, result, 'EX', STAGED_S);
        staging?.catch(() => undefined);
        const settling = run(settlement);
        settling.catch(() => undefined);
        // A failure of the first is the reason of any failure of the second.
        await staging;
        return await settling;
      },
    };
    return settlement;
  }

  /**
   * Records an attempt that failed and is followed by another.
   * @param next the ticket of the attempt that follows
   * @param claim what shows that the job is still the worker's
   * @returns `recorded`; `late` where the task has gone on without it; or the outcome that the task has by now
   */
  async recordAttempt(
    next: Ticket,
    attempt: FailedAttempt,
    claim: { readonly lockKey: string; readonly activeKey: string; readonly token: string },
  ): Promise<'recorded' | 'late' | Outcome> {
    const keys = taskKeys(next);
    const answer = await RECORD_ATTEMPT.run(this.#redis, {
      outcome: keys.outcome,
      attempts: keys.attempts,
      payload: keys.payload,
      lock: claim.lockKey,
      active: claim.activeKey,
      log: keys.log,
      output: keys.output,
      frames: keys.frames,
      recordedBefore: attempt.attempt - 1,
      attempt: JSON.stringify(boundedAttempt(attempt)),
      lifetimeS: unsettledLifetimeS(next),
      token: claim.token,
      taskId: next.taskId,
    });
    if (typeof answer === 'string') return parseOutcome(answer);
    return answer === 1 ? 'recorded' : 'late';
  }

  /** The attempts of a task that failed and were followed by another, in order. */
  async attempts(ref: TaskRef): Promise<FailedAttempt[]> {
    const texts = await this.#redis.lrange(taskKeys(ref).attempts, 0, -1);
    return texts.map(parseAttempt);
  }

  async outcome(ref: TaskRef): Promise<Outcome | null> {
    const text = await this.#redis.get(taskKeys(ref).outcome);
    return text === null ? null : parseOutcome(text);
  }

  /** Outcomes of many tasks in one round trip; null for those that have none. */
  async outcomes(tasks: readonly TaskRef[]): Promise<(Outcome | null)[]> {
    return await Promise.all(tasks.map((task) => this.outcome(task)));
  }

  /** Asks for the outcome on a channel as well, from now until the task is settled; the caller reads it afterwards. */
  async addWaiter(ref: TaskRef, channel: string, forS: number): Promise<void> {
    const key = taskKeys(ref).waiters;
    await Promise.all([this.#redis.sadd(key, channel), this.#redis.expire(key, forS)]);
  }

  /** Tells the worker that may run a task that it was settled from outside. */
  async announceCancelled(ref: TaskRef): Promise<void> {
    await this.#redis.publish(CHANNEL_CANCEL, qualifiedTaskId(ref));
  }

  /**
   * The payload's bytes, from the ticket or from beside it; null where they are gone.
   * @throws SystemError `RELEASE_TOO_OLD`
   */
  async payload(ticket: Ticket): Promise<Buffer | null> {
    const { payload } = ticket;
    const unknown = unknownTicket(ticket);
    if (unknown !== null) throw unknown.error();
    if ('data' in payload) return Buffer.from(payload.data, payload.encoding);
    if (payload.encoding === 'redacted') return null;
    return await this.#redis.getBuffer(taskKeys(ticket).payload);
  }

  /** A completed task's result as raw bytes; null where they are gone. */
  async result(outcome: Outcome): Promise<Buffer | null> {
    const stored = outcome.result;
    if (stored === undefined) return null;
    if (stored.encoding !== 'beside') return Buffer.from(stored.data ?? '', stored.encoding);
    return await this.#redis.getBuffer(taskKeys(outcome).result);
  }

  /** Counts one more instance that died under a task, and says how many have. */
  async countLoss(ticket: Ticket): Promise<number> {
    const key = taskKeys(ticket).losses;
    const [losses] = await Promise.all([this.#redis.incr(key), this.#redis.expire(key, unsettledLifetimeS(ticket))]);
    return losses;
  }

  async losses(ref: TaskRef): Promise<number> {
    return Number((await this.#redis.get(taskKeys(ref).losses)) ?? 0);
  }

  /** Reads what is held against a task that has run on workers that died. */
  async suspicion(ref: TaskRef): Promise<Suspicion> {
    const text = await this.#redis.get(taskKeys(ref).suspicion);
    const [begun = '0', alone = '0'] = (text ?? '').split(' ');
    return { begun: Number(begun), alone: Number(alone) };
  }

  /** Says so before the task begins, as nobody can afterwards; and again, with less, where it has not come to that. */
  async noteSuspicion(ticket: Ticket, { begun, alone }: Suspicion): Promise<void> {
    const key = taskKeys(ticket).suspicion;
    await this.#redis.set(key, `${begun} ${alone}`, 'EX', unsettledLifetimeS(ticket));
  }

  /**
   * Claims an idempotency key for a task, for as long as the task may wait and a day after it.
   * @returns the digest and task id that hold it: the given ones where the key was free.
   */
  async claimIdempotencyKey(
    ref: ArtifactRef,
    key: string,
    claim: { digest: string; taskId: string; waitMs: number },
  ): Promise<{ digest: string; taskId: string }> {
    const keys = artifactKeys(ref);
    const forS = IDEMPOTENCY_RETENTION_S + Math.ceil(claim.waitMs / 1000);
    const held = await CLAIM_KEY.run(this.#redis, {
      claim: keys.idempotency(key),
      claimed: keys.idempotencyKeys,
      value: `${claim.digest} ${claim.taskId}`,
      forS,
      idempotencyKey: key,
    });
    if (typeof held !== 'string') return claim;
    const [digest = '', taskId = ''] = held.split(' ');
    return { digest, taskId };
  }

  /** The ticket of a task that did not complete, for as long as its outcome is kept; null where there is none. */
  async ticket(ref: TaskRef): Promise<Ticket | null> {
    const text = await this.#redis.get(taskKeys(ref).ticket);
    return text === null ? null : parseTicket(text);
  }

  /**
   * Claims a task for one retry by hand.
   * @param name what the retry has other than the task; empty for one that has the same version and payload
   * @returns the id of the task that is its retry of that name: the given one where there was none before
   */
  async claimRetry(ref: TaskRef, retryId: string, name: string): Promise<string> {
    const keys = taskKeys(ref);
    const forS = this.#ageS({ status: 'failed', keyed: true });
    const held = await (name === ''
      ? CLAIM.run(this.#redis, { claim: keys.retriedAs, value: retryId, forS })
      : CLAIM_FIELD.run(this.#redis, { claims: keys.retries, field: name, value: retryId, forS }));
    return typeof held === 'string' ? held : retryId;
  }

  /**
   * Ids of settled tasks of one artifact, newest first.
   * @param before a ULID: only tasks accepted before it
   */
  async listSettled(
    ref: ArtifactRef,
    filter: { statuses: readonly SettledStatus[]; before: string | null; limit: number },
  ): Promise<string[]> {
    const { artifactId } = ref;
    const keys = artifactKeys(ref);
    const from = filter.before === null ? '+' : `(${filter.before}`;
    const lists = await Promise.all(
      filter.statuses.map((status) =>
        this.#redis.zrange(keys.settled(status), from, '-', 'BYLEX', 'REV', 'LIMIT', 0, filter.limit),
      ),
    );
    return lists
      .flat()
      .sort((a, b) => (a < b ? 1 : -1))
      .slice(0, filter.limit)
      .map((member) => `${artifactId}.${member.slice(0, ULID_LENGTH)}`);
  }

  async stats(ref: ArtifactRef): Promise<ArtifactStats> {
    const fields = SETTLED_STATUSES.map(statsField);
    const packed = await this.#redis.hmgetBuffer(artifactKeys(ref).stats, ...fields);
    const stats = Object.fromEntries(
      SETTLED_STATUSES.map((status, index) => [status, parseStats(packed[index] ?? null)]),
    ) as Record<SettledStatus, Stats>;
    const { completed } = stats;
    return {
      settled: Object.fromEntries(SETTLED_STATUSES.map((status) => [status, stats[status].settled])) as Record<
        SettledStatus,
        number
      >,
      runMsSum: SETTLED_STATUSES.reduce((sum, status) => sum + stats[status].runMsSum, 0),
      averageRunMs: completed.averageRunMs,
      averageQueuedMs: completed.averageQueuedMs,
    };
  }

  #ageS({ status, keyed }: Pick<Outcome, 'status' | 'keyed'>): number {
    const { ageS, failedAgeS = ageS } = this.#retention;
    const ownS = status === 'failed' || status === 'timeout' ? failedAgeS : ageS;
    return keyed ? Math.max(ownS, IDEMPOTENCY_RETENTION_S) : ownS;
  }
}

/** Workers that died under a task which was under suspicion by then: after it had begun, and while it was alone. */
export interface Suspicion {
  readonly begun: number;
  readonly alone: number;
}

/**
 * An outcome as it is stored. A result of some size stands at its very end, where the script that lets it go cuts it off
 * (`letGoEntry` in lua/let-go.lua).
 */
function outcomeText(outcome: Outcome): string {
  const { result } = outcome;
  if (result?.data === undefined || result.data.length < LIGHT_BYTES / 2) {
    const text = JSON.stringify(outcome);
    return text.length <= LIGHT_BYTES ? text : JSON.stringify(boundedOutcome(outcome));
  }
  const { result: _last, ...rest } = boundedOutcome(outcome);
  const { encoding, data, ...about } = result;
  return JSON.stringify({ ...rest, result: { ...about, encoding, data } });
}

/** Describes what a ticket asks for that this release does not know; null where it knows all of it. */
export function unknownTicket(ticket: Ticket): UnknownRecord | null {
  const problems = ticketProblems(ticket);
  return problems.length === 0 ? null : new UnknownRecord(`Task ${ticket.taskId}`, problems);
}
