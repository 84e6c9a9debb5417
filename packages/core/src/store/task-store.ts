import type { Redis } from 'ioredis';
import { SystemError } from '../errors/pilum-error.ts';
import { artifactKeys, CHANNEL_CANCEL, qualifiedId, taskKeys, ulidOf } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { matches } from '../schemas/check.ts';
import { Outcome, type Ticket } from '../schemas/task.ts';
import { SETTLED_STATUSES, type SettledStatus } from '../states/states.ts';

/** Payloads and results up to this many bytes travel inside job and outcome; larger ones lie beside them. */
export const INLINE_LIMIT_BYTES = 32 * 1024;

/** Tasks with an Idempotency-Key keep outcome and key at least this long, s. */
export const IDEMPOTENCY_RETENTION_S = 24 * 3600;

/** How long Redis may hold the payload of a task that is never settled, s: longer than any queue and run timeout. */
const ORPHANED_PAYLOAD_S = 9 * 24 * 3600;

/** Weight of the newest task in the running averages of waits and run times. */
const AVERAGE_WEIGHT = 0.1;

export interface Retention {
  /** Outcomes leave this long after the end of their task, s. */
  readonly ageS: number;
  /** Outcomes that are kept per artifact and status. */
  readonly count: number;
}

/**
 * The one place where a task gets its outcome. First writer wins: a later one is handed the outcome that stands.
 * In one step it writes the outcome, indexes it, counts it, lets its payload expire, forgets what is over the count,
 * and tells whoever waits.
 *
 * KEYS: outcome, payload, waiters, losses, settled index, stats
 * ARGV: outcome JSON, ULID, retention (s), kept per status, task key prefix, reply channel or '', status,
 *       run time (ms), queue wait (ms), weight of the newest
 */
const SETTLE = defineScript(`
local standing = redis.call('GET', KEYS[1])
if standing then return standing end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[4])
redis.call('ZADD', KEYS[5], 0, ARGV[2])
redis.call('EXPIRE', KEYS[5], ARGV[3])
local over = redis.call('ZCARD', KEYS[5]) - tonumber(ARGV[4])
if over > 0 then
  local oldest = redis.call('ZPOPMIN', KEYS[5], math.min(over, 16))
  for i = 1, #oldest, 2 do
    local base = ARGV[5] .. oldest[i]
    local outcome = redis.call('GET', base .. ':outcome')
    if outcome and not string.find(outcome, '"keyed":true', 1, true) then
      redis.call('UNLINK', base .. ':outcome', base .. ':payload', base .. ':result', base .. ':logs')
    end
  end
end
redis.call('HINCRBY', KEYS[6], ARGV[7], 1)
if ARGV[7] == 'completed' then
  local before = redis.call('HMGET', KEYS[6], 'runMs', 'queuedMs')
  local weight = tonumber(ARGV[10])
  local function average(old, new)
    if not old then return new end
    return tostring(tonumber(old) + (tonumber(new) - tonumber(old)) * weight)
  end
  redis.call('HSET', KEYS[6], 'runMs', average(before[1], ARGV[8]), 'queuedMs', average(before[2], ARGV[9]))
end
if ARGV[8] ~= '0' then redis.call('HINCRBYFLOAT', KEYS[6], 'runMsSum', ARGV[8]) end
if ARGV[6] ~= '' then redis.call('PUBLISH', ARGV[6], ARGV[1]) end
local waiters = redis.call('SMEMBERS', KEYS[3])
if #waiters > 0 then
  for _, channel in ipairs(waiters) do redis.call('PUBLISH', channel, ARGV[1]) end
  redis.call('DEL', KEYS[3])
end
return false
`);

/**
 * Maps an idempotency key to the first task that was accepted with it.
 * KEYS: mapping. ARGV: `<digest> <taskId>`, retention (s)
 */
const CLAIM_IDEMPOTENCY_KEY = defineScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return false end
return redis.call('GET', KEYS[1])
`);

/** Figures of one artifact over all its tasks, by any worker. */
export interface ArtifactStats {
  readonly settled: Readonly<Record<SettledStatus, number>>;
  /** Sum over all tasks that were run, ms. */
  readonly runMsSum: number;
  /** Running averages over completed tasks, ms; null before the first. */
  readonly averageRunMs: number | null;
  readonly averageQueuedMs: number | null;
}

/** Outcomes, and what belongs to a task beside its job: payload, result, log. */
export class TaskStore {
  readonly #redis: Redis;
  readonly #retention: Retention;

  constructor(redis: Redis, retention: Retention) {
    this.#redis = redis;
    this.#retention = retention;
  }

  /**
   * Records a task's outcome unless it has one.
   * @param replyTo channel of the API process that waits, or null
   * @returns null where this outcome stands now, else the one that stood before.
   */
  async settle(outcome: Outcome, replyTo: string | null): Promise<Outcome | null> {
    const { namespace, artifactId, taskId } = outcome;
    const keys = taskKeys(namespace, taskId);
    const ofArtifact = artifactKeys(namespace, artifactId);
    const standing = await SETTLE.run(
      this.#redis,
      [keys.outcome, keys.payload, keys.waiters, keys.losses, ofArtifact.settled(outcome.status), ofArtifact.stats],
      [
        JSON.stringify(outcome),
        ulidOf(taskId),
        this.#ageS(outcome.keyed),
        this.#retention.count,
        ofArtifact.taskPrefix,
        replyTo ?? '',
        outcome.status,
        outcome.runMs,
        outcome.queuedMs,
        AVERAGE_WEIGHT,
      ],
    );
    return typeof standing === 'string' ? parseOutcome(standing) : null;
  }

  async outcome(namespace: string, taskId: string): Promise<Outcome | null> {
    const text = await this.#redis.get(taskKeys(namespace, taskId).outcome);
    return text === null ? null : parseOutcome(text);
  }

  /** Outcomes of many tasks in one round trip; null for those that have none. */
  async outcomes(tasks: readonly { namespace: string; taskId: string }[]): Promise<(Outcome | null)[]> {
    return await Promise.all(tasks.map(({ namespace, taskId }) => this.outcome(namespace, taskId)));
  }

  /** Asks for the outcome on a channel as well, from now until the task is settled; the caller reads it afterwards. */
  async addWaiter(namespace: string, taskId: string, channel: string, forS: number): Promise<void> {
    const key = taskKeys(namespace, taskId).waiters;
    await Promise.all([this.#redis.sadd(key, channel), this.#redis.expire(key, forS)]);
  }

  /** Tells the worker that may run a task that it was settled from outside. */
  async announceCancelled(namespace: string, taskId: string): Promise<void> {
    await this.#redis.publish(CHANNEL_CANCEL, qualifiedId(namespace, taskId));
  }

  /** Stores a payload beside its job; before the job is added, so that no attempt misses it. */
  async putPayload(namespace: string, taskId: string, payload: Buffer): Promise<void> {
    await this.#redis.set(taskKeys(namespace, taskId).payload, payload, 'EX', ORPHANED_PAYLOAD_S);
  }

  /** The payload's bytes, from the ticket or from beside it; null where they are gone. */
  async payload(ticket: Ticket): Promise<Buffer | null> {
    const { payload, namespace, taskId } = ticket;
    if ('data' in payload) return Buffer.from(payload.data, payload.encoding);
    if (payload.encoding === 'redacted') return null;
    return await this.#redis.getBuffer(taskKeys(namespace, taskId).payload);
  }

  async deletePayload(namespace: string, taskId: string): Promise<void> {
    await this.#redis.unlink(taskKeys(namespace, taskId).payload);
  }

  /** Stores a large result beside the outcome; before the outcome is written, so that no reader misses it. */
  async putResult(ticket: Ticket, body: Buffer): Promise<void> {
    await this.#redis.set(taskKeys(ticket.namespace, ticket.taskId).result, body, 'EX', this.#ageS(ticket.keyed));
  }

  /** A completed task's result as raw bytes; null where they are gone. */
  async result(outcome: Outcome): Promise<Buffer | null> {
    const stored = outcome.result;
    if (stored === undefined) return null;
    if (stored.encoding !== 'beside') return Buffer.from(stored.data ?? '', stored.encoding);
    return await this.#redis.getBuffer(taskKeys(outcome.namespace, outcome.taskId).result);
  }

  async putLogs(ticket: Ticket, jsonLines: string): Promise<void> {
    await this.#redis.set(taskKeys(ticket.namespace, ticket.taskId).logs, jsonLines, 'EX', this.#ageS(ticket.keyed));
  }

  /** Log lines as JSON lines; empty where there are none. */
  async logs(namespace: string, taskId: string): Promise<string> {
    return (await this.#redis.get(taskKeys(namespace, taskId).logs)) ?? '';
  }

  /** Counts one more instance that died under a task, and says how many have. */
  async countLoss(namespace: string, taskId: string): Promise<number> {
    const key = taskKeys(namespace, taskId).losses;
    const [losses] = await Promise.all([this.#redis.incr(key), this.#redis.expire(key, ORPHANED_PAYLOAD_S)]);
    return losses;
  }

  async losses(namespace: string, taskId: string): Promise<number> {
    return Number((await this.#redis.get(taskKeys(namespace, taskId).losses)) ?? 0);
  }

  /**
   * Claims an idempotency key for a task.
   * @returns the digest and task id that hold it: the given ones where the key was free.
   */
  async claimIdempotencyKey(
    namespace: string,
    artifactId: string,
    key: string,
    claim: { digest: string; taskId: string },
  ): Promise<{ digest: string; taskId: string }> {
    const held = await CLAIM_IDEMPOTENCY_KEY.run(
      this.#redis,
      [artifactKeys(namespace, artifactId).idempotency(key)],
      [`${claim.digest} ${claim.taskId}`, IDEMPOTENCY_RETENTION_S],
    );
    if (typeof held !== 'string') return claim;
    const [digest = '', taskId = ''] = held.split(' ');
    return { digest, taskId };
  }

  /**
   * Ids of settled tasks of one artifact, newest first.
   * @param before a ULID: only tasks accepted before it
   */
  async listSettled(
    namespace: string,
    artifactId: string,
    filter: { statuses: readonly SettledStatus[]; before: string | null; limit: number },
  ): Promise<string[]> {
    const keys = artifactKeys(namespace, artifactId);
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
      .map((ulid) => `${artifactId}.${ulid}`);
  }

  async stats(namespace: string, artifactId: string): Promise<ArtifactStats> {
    const hash = await this.#redis.hgetall(artifactKeys(namespace, artifactId).stats);
    const settled = Object.fromEntries(SETTLED_STATUSES.map((status) => [status, Number(hash[status] ?? 0)])) as Record<
      SettledStatus,
      number
    >;
    return {
      settled,
      runMsSum: Number(hash.runMsSum ?? 0),
      averageRunMs: hash.runMs === undefined ? null : Number(hash.runMs),
      averageQueuedMs: hash.queuedMs === undefined ? null : Number(hash.queuedMs),
    };
  }

  #ageS(keyed: boolean): number {
    return keyed ? Math.max(this.#retention.ageS, IDEMPOTENCY_RETENTION_S) : this.#retention.ageS;
  }
}

/**
 * Reads an outcome as it stands in Redis or comes over a reply channel.
 * @throws SystemError `INTERNAL` where it is not one.
 */
export function parseOutcome(text: string): Outcome {
  const value: unknown = JSON.parse(text);
  if (matches(Outcome, value)) return value;
  throw new SystemError('INTERNAL', { message: 'Redis holds an outcome that this release cannot read.' });
}
