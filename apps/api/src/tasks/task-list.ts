import type { ErrorCode } from '@pilum/core/errors/error-table.ts';
import type { QueuedState } from '@pilum/core/queue/task-ids.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { ulidOf } from '@pilum/core/redis/keys.ts';
import type { ArtifactRef } from '@pilum/core/schemas/refs.ts';
import { SETTLED_STATUSES, TASK_STATUSES, type TaskStatus } from '@pilum/core/states/states.ts';
import type { ArtifactLists } from '@pilum/core/store/artifact-list.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { Principal } from '../auth/principal.ts';
import type { Entry, TaskReader } from './task-reader.ts';

export interface TaskListDeps {
  readonly artifacts: ArtifactStore;
  readonly lists: ArtifactLists;
  readonly queues: TaskQueues;
  readonly tasks: TaskStore;
  readonly reader: TaskReader;
}

export interface TaskFilter {
  /** The artifact; null for all of the namespace. */
  readonly artifactId: string | null;
  readonly statuses: readonly TaskStatus[];
  /** The error that tasks ended with; null for all tasks. */
  readonly error: ErrorCode | null;
  /** Whether to list only tasks that failed after all their attempts or all of their wait. */
  readonly exhausted: boolean;
  /** The ULID before which tasks were accepted; null for all tasks. */
  readonly before: string | null;
  /** The ULID from which on tasks were accepted; null for all tasks. */
  readonly since: string | null;
  readonly limit: number;
}

export interface TaskPage {
  readonly tasks: readonly Entry[];
  /** Value of `before` for the next page; null for the last page. */
  readonly next: string | null;
}

/** Most artifacts of a namespace that are asked for their tasks; where there are more, the index of the namespace is. */
const MOST_ASKED = 100;
/** Most reads to fill a page; the index also contains tasks whose outcomes have expired. */
const MAX_ROUNDS = 10;

/** Lists tasks, newest first. */
export class TaskList {
  readonly #deps: TaskListDeps;

  constructor(deps: TaskListDeps) {
    this.#deps = deps;
  }

  async page({ namespace }: Principal, filter: TaskFilter): Promise<TaskPage> {
    const tasks: Entry[] = [];
    let before = filter.before;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const ids = await this.#ids(namespace, { ...filter, before });
      const entries = await this.#deps.reader.entries(namespace, ids);
      for (const [index, entry] of entries.entries()) {
        const id = ids[index] ?? '';
        before = ulidOf(id);
        if (filter.since !== null && before < filter.since) return { tasks, next: null };
        if (entry === null || !fits(entry, filter)) continue;
        tasks.push(entry);
        if (tasks.length < filter.limit) continue;
        const isLast = ids.length < filter.limit && index === ids.length - 1;
        return { tasks, next: isLast ? null : id };
      }
      const last = ids.at(-1);
      if (last === undefined || ids.length < filter.limit) return { tasks, next: null };
      if (round === MAX_ROUNDS - 1) return { tasks, next: last };
    }
    return { tasks, next: null };
  }

  /** Reads ids of tasks that may match, newest first. */
  async #ids(namespace: string, filter: TaskFilter): Promise<string[]> {
    if (filter.artifactId !== null) return await this.#idsOf({ namespace, artifactId: filter.artifactId }, filter);
    const artifactIds = await this.#deps.artifacts.list(namespace, null, MOST_ASKED + 1);
    if (artifactIds.length <= MOST_ASKED) return await this.#idsOfAll(namespace, artifactIds, filter);
    const statuses = statusesOf(filter);
    const { before, limit } = filter;
    if (statuses.every((status) => status === 'pending' || status === 'running')) {
      return await this.#idsOfAll(namespace, await this.#activeIn(namespace), filter);
    }
    const kind = statuses.every((status) => UNSUCCESSFUL.includes(status)) ? 'unsuccessful' : 'recent';
    return await this.#deps.tasks.index.list(kind, namespace, before, limit);
  }

  /** Returns the artifacts of a namespace that have tasks which wait or run. */
  async #activeIn(namespace: string): Promise<string[]> {
    const found: string[] = [];
    for await (const page of this.#deps.lists.active.pages()) {
      for (const listed of page) if (listed.namespace === namespace) found.push(listed.artifactId);
    }
    return found;
  }

  async #idsOfAll(namespace: string, artifactIds: readonly string[], filter: TaskFilter): Promise<string[]> {
    let found: string[] = [];
    for (let from = 0; from < artifactIds.length; from += MOST_ASKED) {
      const some = artifactIds.slice(from, from + MOST_ASKED);
      const lists = await Promise.all(some.map((artifactId) => this.#idsOf({ namespace, artifactId }, filter)));
      found = newestFirst([...found, ...lists.flat()]).slice(0, filter.limit);
    }
    return found;
  }

  async #idsOf(ref: ArtifactRef, filter: TaskFilter): Promise<string[]> {
    const { tasks, queues } = this.#deps;
    const { before, limit } = filter;
    const asked = statusesOf(filter);
    const settled = SETTLED_STATUSES.filter((candidate) => asked.includes(candidate));
    const queued = asked.includes('pending') ? QUEUED_FOR.pending : asked.includes('running') ? QUEUED_FOR.running : [];
    const [settledIds, queuedIds] = await Promise.all([
      settled.length === 0 ? [] : tasks.listSettled(ref, { statuses: settled, before, limit }),
      queued.length === 0 ? [] : queues.of(ref).ids(queued, { before, limit }),
    ]);
    return newestFirst([...new Set([...settledIds, ...queuedIds])]).slice(0, limit);
  }
}

const UNSUCCESSFUL: readonly TaskStatus[] = ['failed', 'timeout', 'cancelled'];

/** Returns the statuses that tasks matching a filter can have. */
function statusesOf({ statuses, error, exhausted }: TaskFilter): readonly TaskStatus[] {
  const possible: readonly TaskStatus[] = exhausted
    ? ['failed', 'timeout']
    : error === null
      ? TASK_STATUSES
      : UNSUCCESSFUL;
  return possible.filter((candidate) => statuses.includes(candidate));
}

function fits({ head, outcome }: Entry, { statuses, error, exhausted }: TaskFilter): boolean {
  if (!statuses.includes(head.status)) return false;
  if (error !== null && head.error?.code !== error) return false;
  return !exhausted || outcome?.exhausted === true;
}

/** States of jobs to look through for tasks of a status. A job without its worker is pending, but still listed as running. */
const QUEUED_FOR: Readonly<Record<'pending' | 'running', readonly QueuedState[]>> = {
  pending: ['pending', 'running'],
  running: ['running'],
};

const newestFirst = (ids: string[]) => ids.sort((a, b) => (ulidOf(a) < ulidOf(b) ? 1 : -1));
