import { logEvent } from '@pilum/core/log/log-events.ts';
import { CHANNEL_CHANGED, parseQualifiedId, qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { ArtifactSettings, Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { currentVersion } from '@pilum/core/store/current-version.ts';
import { isKnown } from '@pilum/core/store/unknown-record.ts';
import type { Logger } from 'pino';

/** Between two looks at all artifacts, ms: what a lost message delays a change by. */
const LOOK_INTERVAL_MS = 30_000;

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

/** Sees every artifact once, and again each time that it changes; for what a worker does without being called. */
export class ArtifactWatch {
  readonly #artifacts: ArtifactStore;
  readonly #onSeen: (seen: SeenArtifact) => void;
  readonly #logger: Logger;
  /** Looks at one artifact follow each other, so that an older one never has the last word. */
  readonly #looking = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #isOpen = false;
  #round: Promise<void> | null = null;

  constructor(artifacts: ArtifactStore, onSeen: (seen: SeenArtifact) => void, logger: Logger) {
    this.#artifacts = artifacts;
    this.#onSeen = onSeen;
    this.#logger = logger;
  }

  /** Begins to listen. What is there already is seen in the background. */
  async open(subscriber: Subscriber): Promise<void> {
    this.#isOpen = true;
    await subscriber.subscribe(CHANNEL_CHANGED, (qualified) => void this.#lookAt(qualified));
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
      .catch((error: unknown) => logEvent(this.#logger, 'artifacts-unlisted', { err: error }))
      .finally(() => {
        this.#round = null;
      });
  }

  async #goRound(): Promise<void> {
    for await (const page of this.#artifacts.all()) {
      for (const artifact of page) {
        if (!this.#isOpen) return;
        await this.#lookAt(qualifiedId(artifact));
      }
    }
  }

  #lookAt(qualified: string): Promise<void> {
    const look = (this.#looking.get(qualified) ?? Promise.resolve())
      .then(() => this.#look(qualified))
      .catch((error: unknown) => logEvent(this.#logger, 'artifact-unread', { err: error, artifact: qualified }))
      .finally(() => {
        if (this.#looking.get(qualified) === look) this.#looking.delete(qualified);
      });
    this.#looking.set(qualified, look);
    return look;
  }

  async #look(qualified: string): Promise<void> {
    const ref = parseQualifiedId(qualified);
    const [artifact, versions, aliases, deployments] = await Promise.all([
      this.#artifacts.artifact(ref),
      this.#artifacts.versions(ref),
      this.#artifacts.aliases(ref),
      this.#artifacts.deployments(ref),
    ]);
    if (!this.#isOpen) return;
    const current = artifact === null ? null : currentVersion({ versions, aliases, deployments });
    this.#onSeen({
      ...ref,
      settings: artifact?.settings ?? null,
      current: current !== null && isKnown(current) ? current : null,
      creating: artifact === null ? [] : versions.filter(isKnown).filter(({ state }) => state === 'creating'),
    });
  }
}
