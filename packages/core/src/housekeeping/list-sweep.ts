import type { TaskQueues } from '../queue/task-queues.ts';
import type { ArtifactLists } from '../store/artifact-list.ts';
import type { ArtifactStore } from '../store/artifact-store.ts';
import type { BlobStore } from '../store/blob-store.ts';

/**
 * Artifacts that are looked at in one round of the housekeeper: all of a small installation, and so few of a large one that they cost less
 * than half a percent of a processor.
 */
const SWEPT = 100;

export interface ListSweepDeps {
  readonly artifacts: ArtifactStore;
  readonly queues: TaskQueues;
  readonly lists: ArtifactLists;
  readonly collect: { readonly blobs: BlobStore } | null;
}

/**
 * Looks at all artifacts, a few in each round, and puts those with work on the list of active ones. They are there already, but where
 * Redis has lost a write, or an API of a release without the list has accepted a task. Where no process has ever kept the lists, the
 * first round puts everything on them.
 */
export class ListSweep {
  readonly #deps: ListSweepDeps;
  #isListed = false;
  #after: string | null = null;

  constructor(deps: ListSweepDeps) {
    this.#deps = deps;
  }

  /** Looks at the next artifacts. @throws what Redis throws */
  async goOn(signal: AbortSignal): Promise<void> {
    const { artifacts, queues, lists } = this.#deps;
    if (!this.#isListed) await this.#listAll(signal);
    const page = await artifacts.pageOfAll(this.#after, SWEPT);
    this.#after = page.length < SWEPT ? null : (page.at(-1)?.member ?? null);
    const found = await Promise.all(
      page.map(async ({ ref }) => {
        const { due, delayed, active, deletedAtMs, purgeUntilMs } = await queues.look(ref);
        return due + delayed + active > 0 || deletedAtMs !== null || purgeUntilMs !== null ? [ref] : [];
      }),
    );
    await lists.active.putNew(found.flat());
  }

  async #listAll(signal: AbortSignal): Promise<void> {
    const { artifacts, lists, collect } = this.#deps;
    if (!(await lists.areKept())) {
      for await (const page of artifacts.all()) {
        await Promise.all([lists.active.putNew(page), lists.watched.putNew(page), lists.holding.putNew(page)]);
        if (signal.aborted) return;
      }
      await collect?.blobs.listAll();
      if (collect !== null) await lists.noteKept();
    }
    this.#isListed = true;
  }
}
