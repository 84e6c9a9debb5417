import { logEvent } from '@pilum/core/log/log-events.ts';
import { CHANNEL_CHANGED, parseQualifiedId, qualifiedId } from '@pilum/core/redis/keys.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { type ArtifactSettings, DEFAULT_WEIGHT, type Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactList, ListedArtifact } from '@pilum/core/store/artifact-list.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { currentVersion } from '@pilum/core/store/current-version.ts';
import { isKnown } from '@pilum/core/store/unknown-record.ts';
import type { Logger } from 'pino';

/** Between two looks at what is watched, ms: what a lost message delays a change by. */
const LOOK_INTERVAL_MS = 30_000;
/** A changed artifact is watched for so long at least, ms: each worker looks at it once, also if the message was lost. */
const WATCHED_FOR_MS = 2 * LOOK_INTERVAL_MS;

/** An artifact as it stands now. */
export interface SeenArtifact {
  readonly namespace: string;
  readonly artifactId: string;
  /** Null where it was deleted. */
  readonly settings: ArtifactSettings | null;
  /** The version that its bare id means; null where there is none, or this release does not know it. */
  readonly current: Version | null;
  /** Versions that wait for what they need to be ready. */
  readonly creating: readonly Version[];
}

export interface ArtifactWatchDeps {
  readonly artifacts: ArtifactStore;
  /** The artifacts that are seen without a change. */
  readonly watched: ArtifactList;
  readonly onSeen: (seen: SeenArtifact) => void;
  readonly logger: Logger;
}

/**
 * Sees each artifact that a worker has to do something for without being called, and every artifact each time that it changes. One
 * that asks for nothing any more goes off the list of those that are watched, a while after its change, when all workers have seen it.
 */
export class ArtifactWatch {
  readonly #deps: ArtifactWatchDeps;
  /** Looks at one artifact follow each other, so that an older one never has the last word. */
  readonly #looking = new Map<string, Promise<void>>();
  /** Artifacts that asked for something when they were seen last: this worker does it until it sees that they do not any more. */
  readonly #asking = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #isOpen = false;
  #round: Promise<void> | null = null;

  constructor(deps: ArtifactWatchDeps) {
    this.#deps = deps;
  }

  /** Begins to listen. What is there already is seen in the background. */
  async open(subscriber: Subscriber): Promise<void> {
    this.#isOpen = true;
    await subscriber.subscribe(CHANNEL_CHANGED, (qualified) => void this.#lookAt(qualified, null));
    subscriber.onGap(() => this.#lookAtAll());
    this.#timer = setInterval(() => this.#lookAtAll(), LOOK_INTERVAL_MS);
    this.#lookAtAll();
  }

  close(): void {
    this.#isOpen = false;
    clearInterval(this.#timer);
  }

  /** One round at a time, so that none piles up while Redis is away. */
  #lookAtAll(): void {
    if (this.#round !== null || !this.#isOpen) return;
    this.#round = this.#goRound()
      .catch((error: unknown) => logEvent(this.#deps.logger, 'artifacts-unlisted', { err: error }))
      .finally(() => {
        this.#round = null;
      });
  }

  async #goRound(): Promise<void> {
    const seen = new Set<string>();
    for await (const page of this.#deps.watched.pages()) {
      for (const listed of page) {
        if (!this.#isOpen) return;
        const qualified = qualifiedId(listed);
        seen.add(qualified);
        await this.#lookAt(qualified, listed);
      }
    }
    for (const qualified of this.#asking) {
      if (!this.#isOpen) return;
      if (!seen.has(qualified)) await this.#lookAt(qualified, null);
    }
  }

  #lookAt(qualified: string, listed: ListedArtifact | null): Promise<void> {
    const look = (this.#looking.get(qualified) ?? Promise.resolve())
      .then(() => this.#look(qualified, listed))
      .catch((error: unknown) => logEvent(this.#deps.logger, 'artifact-unread', { err: error, artifact: qualified }))
      .finally(() => {
        if (this.#looking.get(qualified) === look) this.#looking.delete(qualified);
      });
    this.#looking.set(qualified, look);
    return look;
  }

  async #look(qualified: string, listed: ListedArtifact | null): Promise<void> {
    const { artifacts } = this.#deps;
    const ref = parseQualifiedId(qualified);
    const [artifact, versions, aliases, deployments] = await Promise.all([
      artifacts.artifact(ref),
      artifacts.versions(ref),
      artifacts.aliases(ref),
      artifacts.deployments(ref),
    ]);
    if (!this.#isOpen) return;
    const current = artifact === null ? null : currentVersion({ versions, aliases, deployments });
    const seen: SeenArtifact = {
      ...ref,
      settings: artifact?.settings ?? null,
      current: current !== null && isKnown(current) ? current : null,
      creating: artifact === null ? [] : versions.filter(isKnown).filter(({ state }) => state === 'creating'),
    };
    this.#deps.onSeen(seen);
    // What a newer release has written may ask its workers for something.
    const asks = asksForSomething(seen) || (artifact !== null && !versions.every(isKnown));
    await this.#note(qualified, asks, listed);
  }

  async #note(qualified: string, asks: boolean, listed: ListedArtifact | null): Promise<void> {
    const { watched } = this.#deps;
    if (asks) {
      this.#asking.add(qualified);
      // An API of a release without the list has changed it, perhaps.
      if (listed === null) await watched.putNew([parseQualifiedId(qualified)]);
      return;
    }
    this.#asking.delete(qualified);
    if (listed !== null && sharedNow() > listed.listedAtMs + WATCHED_FOR_MS) await watched.takeOff(listed);
  }
}

/** Returns whether a worker has to do something for an artifact before it is called. */
function asksForSomething({ settings, current, creating }: SeenArtifact): boolean {
  if (settings === null) return false;
  const { weight, reserved } = settings;
  return creating.length > 0 || (current?.spec.pool.min ?? 0) > 0 || weight !== DEFAULT_WEIGHT || reserved > 0;
}
