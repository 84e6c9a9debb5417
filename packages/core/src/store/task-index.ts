import type { Redis } from 'ioredis';
import { recentTasksKey, ULID_LENGTH, ulidOf, unsuccessfulTasksKey } from '../redis/keys.ts';
import type { ArtifactRef, TaskRef } from '../schemas/refs.ts';

/** From the first task that is noted to the write of all that were noted meanwhile, ms. */
const WRITE_AFTER_MS = 200;
/** Tasks that are written in one command. */
const WRITTEN_AT_ONCE = 500;
/** Tasks that wait to be written, of one process. Those over it are not in the index: they are listed with their artifact. */
const MOST_WAITING = 50_000;
/** Tasks of one namespace that an index has. */
const MOST_TASKS = 200_000;

/** A kind of index: all tasks as they were accepted, or those that did not complete. */
export type IndexKind = 'recent' | 'unsuccessful';

const keyOf = (kind: IndexKind, namespace: string) =>
  kind === 'recent' ? recentTasksKey(namespace) : unsuccessfulTasksKey(namespace);

/**
 * The newest tasks of each namespace over all its artifacts, so that a list of them asks none of the artifacts. It is written behind the
 * tasks, many at a time: it may be a moment late, and a process that is killed leaves its last moment out.
 */
export class TaskIndex {
  readonly #redis: Redis;
  /** By key: the members that are not written yet. */
  #waiting = new Map<string, string[]>();
  #count = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Notes a task that was accepted, or did not complete. Cheap, and never fails. */
  note(kind: IndexKind, { namespace, artifactId, taskId }: TaskRef & ArtifactRef): void {
    if (this.#count >= MOST_WAITING) return;
    this.#count++;
    const key = keyOf(kind, namespace);
    const members = this.#waiting.get(key);
    const member = ulidOf(taskId) + artifactId;
    if (members === undefined) this.#waiting.set(key, [member]);
    else members.push(member);
    this.#timer ??= setTimeout(() => void this.write(), WRITE_AFTER_MS).unref();
  }

  /** Writes what was noted. What Redis does not take is left out. */
  async write(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = new Map();
    this.#count = 0;
    await Promise.all([...waiting].map(([key, members]) => this.#writeTo(key, members).catch(() => undefined)));
  }

  async #writeTo(key: string, members: readonly string[]): Promise<void> {
    for (let from = 0; from < members.length; from += WRITTEN_AT_ONCE) {
      const some = members.slice(from, from + WRITTEN_AT_ONCE);
      await this.#redis.zadd(key, ...some.flatMap((member) => [0, member]));
    }
    // All scores are 0: the first ranks are the oldest tasks.
    await this.#redis.zremrangebyrank(key, 0, -MOST_TASKS - 1);
  }

  /**
   * Lists ids of tasks, the newest first.
   * @param before ULID before which they were accepted; null for the newest
   */
  async list(kind: IndexKind, namespace: string, before: string | null, limit: number): Promise<string[]> {
    const from = before === null ? '+' : `(${before}`;
    const members = await this.#redis.zrevrangebylex(keyOf(kind, namespace), from, '-', 'LIMIT', 0, limit);
    return members.map((member) => `${member.slice(ULID_LENGTH)}.${member.slice(0, ULID_LENGTH)}`);
  }
}
