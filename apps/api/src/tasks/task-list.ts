import type { QueuedState, TaskQueues } from '@pilum/core/queue/task-queue.ts';
import { ulidOf } from '@pilum/core/redis/keys.ts';
import { SETTLED_STATUSES, TASK_STATUSES, type TaskStatus } from '@pilum/core/states/states.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { Principal } from '../guard/principal.ts';
import type { EnvelopeHead } from './envelope.ts';
import type { TaskReader } from './task-reader.ts';

export interface TaskListParts {
  readonly artifacts: ArtifactStore;
  readonly queues: TaskQueues;
  readonly tasks: TaskStore;
  readonly reader: TaskReader;
}

export interface TaskFilter {
  /** Null for all artifacts of the namespace. */
  readonly artifactId: string | null;
  /** Null for any. */
  readonly status: TaskStatus | null;
  /** A ULID: only tasks accepted before it. */
  readonly before: string | null;
  readonly limit: number;
}

export interface TaskPage {
  readonly tasks: readonly EnvelopeHead[];
  /** What to give as `before` for the page that follows; null where there is none. */
  readonly next: string | null;
}

/** Artifacts that are asked at once. */
const ARTIFACT_PAGE = 100;
/** Rounds to fill a page with: an index names tasks whose outcomes have expired, too. */
const MAX_ROUNDS = 10;

/** Lists tasks, newest first. */
export class TaskList {
  readonly #parts: TaskListParts;

  constructor(parts: TaskListParts) {
    this.#parts = parts;
  }

  async page({ namespace }: Principal, filter: TaskFilter): Promise<TaskPage> {
    const tasks: EnvelopeHead[] = [];
    let before = filter.before;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const ids = await this.#ids(namespace, { ...filter, before });
      const heads = await this.#parts.reader.heads(namespace, ids);
      for (const [index, head] of heads.entries()) {
        const id = ids[index] ?? '';
        before = ulidOf(id);
        if (head === null || (filter.status !== null && head.status !== filter.status)) continue;
        tasks.push(head);
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

  /** Ids of tasks that may match, newest first. */
  async #ids(namespace: string, filter: TaskFilter): Promise<string[]> {
    if (filter.artifactId !== null) return await this.#idsOf(namespace, filter.artifactId, filter);
    let found: string[] = [];
    for (let after: string | null = null; ; ) {
      const artifactIds: string[] = await this.#parts.artifacts.list(namespace, after, ARTIFACT_PAGE);
      const lists = await Promise.all(artifactIds.map((artifactId) => this.#idsOf(namespace, artifactId, filter)));
      found = newestFirst([...found, ...lists.flat()]).slice(0, filter.limit);
      after = artifactIds.at(-1) ?? null;
      if (artifactIds.length < ARTIFACT_PAGE) return found;
    }
  }

  async #idsOf(namespace: string, artifactId: string, { status, before, limit }: TaskFilter): Promise<string[]> {
    const { tasks, queues } = this.#parts;
    const asked: readonly TaskStatus[] = status === null ? TASK_STATUSES : [status];
    const settled = SETTLED_STATUSES.filter((candidate) => asked.includes(candidate));
    const queued = QUEUED_FOR[status ?? 'pending'] ?? [];
    const [settledIds, queuedIds] = await Promise.all([
      settled.length === 0 ? [] : tasks.listSettled(namespace, artifactId, { statuses: settled, before, limit }),
      queued.length === 0 ? [] : queues.of(namespace, artifactId).ids(queued, { before, limit }),
    ]);
    return newestFirst([...new Set([...settledIds, ...queuedIds])]).slice(0, limit);
  }
}

/** Where tasks of a status may be. A job that lost its worker stands among the running ones and is pending again. */
const QUEUED_FOR: Readonly<Partial<Record<TaskStatus, readonly QueuedState[]>>> = {
  pending: ['pending', 'running'],
  running: ['running'],
};

const newestFirst = (ids: string[]) => ids.sort((a, b) => (ulidOf(a) < ulidOf(b) ? 1 : -1));
