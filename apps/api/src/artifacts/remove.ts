import { setTimeout as sleep } from 'node:timers/promises';
import { cancelWaiting } from '@pilum/core/housekeeping/cancel-waiting.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { ArtifactRef } from '@pilum/core/schemas/refs.ts';
import type { SecretStore } from '@pilum/core/secrets/secret-store.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import type { BlobStore } from '@pilum/core/store/blob-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { Principal } from '../auth/principal.ts';
import { digestsOf, isNeeded } from './blob-use.ts';
import { type ArtifactResolver, artifactNotFound } from './resolve.ts';
import { secretsNeeded, secretsOf } from './secret-spec.ts';

export interface RemoveDeps {
  readonly artifacts: ArtifactStore;
  readonly blobs: BlobStore;
  readonly secrets: SecretStore;
  readonly queues: TaskQueues;
  readonly tasks: TaskStore;
  readonly resolver: ArtifactResolver;
}

export interface Removal {
  /** Number of waiting tasks that were cancelled. */
  readonly cancelled: number;
  /** Number of tasks that still ran after the wait; they finish. */
  readonly running: number;
}

/** Longest wait for running tasks, ms. */
const RUNNING_WAIT_MS = 10_000;
const LOOK_INTERVAL_MS = 50;

/** Deletes artifacts: accepts no further tasks, cancels the waiting ones, and lets the running ones finish. */
export class Remover {
  readonly #deps: RemoveDeps;

  constructor(deps: RemoveDeps) {
    this.#deps = deps;
  }

  /**
   * Deletes an artifact.
   * @param waitMs longest wait for running tasks
   * @throws ArtifactError `ARTIFACT_NOT_FOUND`
   */
  async remove({ namespace }: Principal, artifactId: string, waitMs = RUNNING_WAIT_MS): Promise<Removal> {
    const { artifacts, queues, tasks, resolver } = this.#deps;
    const artifact = { namespace, artifactId };
    const versions = await artifacts.versions(artifact);
    const deletedAtMs = await artifacts.delete(artifact);
    if (deletedAtMs === null) throw artifactNotFound(artifactId);
    resolver.forget(artifact);
    const digests = new Set(versions.flatMap((version) => [...digestsOf(version)]));
    for (const digest of digests) await this.#letGo(artifact, digest);
    await this.#letGoSecrets(artifact, versions.flatMap(secretsOf));
    const queue = queues.of(artifact);
    // The housekeeper does whatever remains if this process dies or a task runs on, and removes the records of the tasks.
    const cancelled = await cancelWaiting(queue, tasks, deletedAtMs);
    const running = await runningAfter(queue, performance.now() + waitMs);
    if (running === 0) await queue.forgetFinished();
    return { cancelled, running };
  }

  /** Drops the reference to a blob, and restores it if a new artifact took the id in the same moment. */
  async #letGo(ref: ArtifactRef, digest: string): Promise<void> {
    const { namespace, artifactId } = ref;
    const { artifacts, blobs } = this.#deps;
    const blob = { namespace, digest };
    await blobs.unrefer(blob, artifactId);
    const versions = await artifacts.versions(ref);
    if (isNeeded(digest, versions)) await blobs.refer(blob, artifactId);
  }

  /** Drops the notes that it uses secrets, and restores those of a new artifact that took the id in the same moment. */
  async #letGoSecrets(ref: ArtifactRef, names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const { artifacts, secrets } = this.#deps;
    await secrets.unrefer(ref, names);
    const again = secretsNeeded(await artifacts.versions(ref));
    const needed = names.filter((name) => again.has(name));
    if (needed.length > 0) await secrets.refer(ref, needed).catch(() => undefined); // deleted meanwhile
  }
}

async function runningAfter(queue: TaskQueue, deadline: number): Promise<number> {
  for (;;) {
    const { active } = await queue.counts();
    if (active === 0 || performance.now() >= deadline) return active;
    await sleep(LOOK_INTERVAL_MS);
  }
}
