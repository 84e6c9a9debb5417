import { CHANNEL_CHANGED, parseQualifiedId, qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { currentVersion } from '@pilum/core/store/current-version.ts';
import type { Logger } from 'pino';
import type { InstancePools } from './instance-pools.ts';

/** Between two looks at all artifacts, ms: what a lost message delays a warm-up by. */
const LOOK_INTERVAL_MS = 30_000;

export interface WarmKeeperParts {
  readonly artifacts: ArtifactStore;
  readonly pools: InstancePools;
  /** Whether the worker could start an instance of the version now. */
  readonly canRun: (version: Version) => boolean;
  readonly logger: Logger;
}

interface Kept {
  readonly version: number;
  readonly min: number;
  readonly let: AbortController;
}

/**
 * Keeps `pool.min` instances of each artifact ready, of the version that its bare id means: from its deployment on, and
 * again after a restart of the worker.
 */
export class WarmKeeper {
  readonly #parts: WarmKeeperParts;
  readonly #kept = new Map<string, Kept>();
  /** Looks at one artifact follow each other, so that an older one never has the last word. */
  readonly #looking = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #isOpen = false;
  #round: Promise<void> | null = null;

  constructor(parts: WarmKeeperParts) {
    this.#parts = parts;
  }

  /** Begins to listen. What is there already is found in the background. */
  async open(subscriber: Subscriber): Promise<void> {
    this.#isOpen = true;
    await subscriber.subscribe(CHANNEL_CHANGED, (qualified) => void this.#lookAt(qualified));
    subscriber.onGap(() => this.#lookAtAll());
    this.#timer = setInterval(() => this.#lookAtAll(), LOOK_INTERVAL_MS);
    this.#lookAtAll();
  }

  /** Keeps nothing any more; the instances are the pools' to stop. */
  close(): void {
    this.#isOpen = false;
    clearInterval(this.#timer);
    for (const kept of this.#kept.values()) kept.let.abort();
    this.#kept.clear();
  }

  /** One round at a time, so that none piles up while Redis is away. */
  #lookAtAll(): void {
    if (this.#round !== null) return;
    this.#round = this.#goRound()
      .catch((error: unknown) => this.#parts.logger.warn({ err: error }, 'artifacts to keep warm could not be read'))
      .finally(() => {
        this.#round = null;
      });
  }

  async #goRound(): Promise<void> {
    for await (const page of this.#parts.artifacts.all()) {
      for (const { namespace, artifactId } of page) {
        if (!this.#isOpen) return;
        await this.#lookAt(qualifiedId(namespace, artifactId));
      }
    }
  }

  #lookAt(qualified: string): Promise<void> {
    const look = (this.#looking.get(qualified) ?? Promise.resolve())
      .then(() => this.#look(qualified))
      .catch((error: unknown) => this.#parts.logger.warn({ err: error, artifact: qualified }, 'it is not kept warm'))
      .finally(() => {
        if (this.#looking.get(qualified) === look) this.#looking.delete(qualified);
      });
    this.#looking.set(qualified, look);
    return look;
  }

  async #look(qualified: string): Promise<void> {
    const { artifacts, pools, canRun, logger } = this.#parts;
    const { namespace, artifactId } = parseQualifiedId(qualified);
    const [artifact, versions, aliases] = await Promise.all([
      artifacts.artifact(namespace, artifactId),
      artifacts.versions(namespace, artifactId),
      artifacts.aliases(namespace, artifactId),
    ]);
    const version = artifact === null ? null : currentVersion(versions, aliases);
    const min = version !== null && canRun(version) ? version.spec.pool.min : 0;
    const kept = this.#kept.get(qualified);
    if (kept !== undefined && kept.version === version?.version && kept.min === min) return;
    kept?.let.abort();
    this.#kept.delete(qualified);
    if (version === null || min === 0 || !this.#isOpen) return;
    const mine: Kept = { version: version.version, min, let: new AbortController() };
    this.#kept.set(qualified, mine);
    pools.keep(namespace, version, min, mine.let.signal).catch((error: unknown) => {
      logger.warn({ err: error, artifact: qualified }, 'it is not kept warm');
      if (this.#kept.get(qualified) === mine) this.#kept.delete(qualified);
    });
  }
}
