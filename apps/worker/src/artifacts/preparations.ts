import { setTimeout as sleep } from 'node:timers/promises';
import { type PilumError, toPilumError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { PinnedImage, Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import type { Logger } from 'pino';
import { requireUsableTexts } from '../runtimes/contract/checked-texts.ts';
import type { PrepareOptions } from '../runtimes/contract/runtime.ts';
import type { SeenArtifact } from './artifact-watch.ts';

/** Versions that one worker makes ready at once: what they need comes over the same wire. */
const MOST_AT_ONCE = 4;
/** Between two tries, ms: at what another worker has claimed, or what could not be done at the moment. */
const TRY_AGAIN_MS = 2000;
/** Between two signs of life of a claim, ms; well within what it lasts. */
const NOTE_INTERVAL_MS = 1000;

export interface PreparationsDeps {
  readonly artifacts: ArtifactStore;
  readonly workerId: string;
  /** Returns what makes a version ready; null where this worker cannot at the moment, or it is not for a worker to do. */
  readonly preparationOf: (version: Version) => Preparation | null;
  readonly logger: Logger;
}

/**
 * Makes one version ready.
 * @throws what would be the same again; RuntimeError `RUNTIME_UNAVAILABLE` where it may be tried again; the signal's reason
 */
export type Preparation = (
  namespace: string,
  version: Version,
  options: PrepareOptions,
) => Promise<{ readonly image?: PinnedImage }>;

interface Waiting {
  readonly namespace: string;
  readonly version: Version;
}

/**
 * Makes versions ready that need more than their code. Each is claimed before, so that of many workers one does it; one
 * that dies over it loses its claim, and the next one begins again.
 */
export class Preparations {
  readonly #deps: PreparationsDeps;
  readonly #waiting = new Map<string, Waiting>();
  readonly #running = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: PreparationsDeps) {
    this.#deps = deps;
  }

  /** Takes on what an artifact waits for. */
  see(seen: SeenArtifact): void {
    if (this.#closing.signal.aborted) return;
    const { namespace, creating } = seen;
    for (const version of creating) {
      const key = `${qualifiedId(seen)}@${version.version}`;
      if (!this.#running.has(key)) this.#waiting.set(key, { namespace, version });
    }
    this.#tryAll();
  }

  /** Gives up what it is at, for other workers to do. May be awaited twice. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the worker is stopping'));
    clearTimeout(this.#timer);
    await Promise.all(this.#running.values());
  }

  #tryAll(): void {
    clearTimeout(this.#timer);
    for (const [key, waiting] of this.#waiting) {
      if (this.#running.size >= MOST_AT_ONCE) break;
      const preparation = this.#deps.preparationOf(waiting.version);
      if (preparation === null) continue;
      this.#waiting.delete(key);
      const running = this.#prepare(waiting, preparation)
        .catch((error: unknown) => {
          logEvent(this.#deps.logger, 'version-tried-again', { err: error, version: key });
          return 'again' as const;
        })
        .then((done) => {
          this.#running.delete(key);
          if (done === 'again' && !this.#closing.signal.aborted) this.#waiting.set(key, waiting);
          this.#schedule();
        });
      this.#running.set(key, running);
    }
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#waiting.size === 0 || this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => this.#tryAll(), TRY_AGAIN_MS);
  }

  async #prepare({ namespace, version }: Waiting, preparation: Preparation): Promise<'done' | 'again'> {
    const { artifacts, workerId, logger } = this.#deps;
    const { artifactId, version: number } = version;
    const artifact = { namespace, artifactId };
    const now = await artifacts.version(artifact, number);
    if (now?.state !== 'creating') return 'done';
    if (!(await artifacts.claimPreparation(artifact, number, workerId))) return 'again';
    const result = await this.#attempt(namespace, version, preparation);
    if (result === null) {
      await artifacts.dropPreparation(artifact, number, workerId);
      return 'again';
    }
    const isOurs = await artifacts.finishPreparation(namespace, version, workerId, result);
    if (isOurs && 'error' in result) {
      const { code, message } = result.error;
      logEvent(logger, 'version-failed', { artifactId, version: number, code, message });
    } else if (isOurs) logEvent(logger, 'version-ready', { artifactId, version: number });
    return 'done';
  }

  /** Makes one version ready and returns what that came to; null where it may be tried again. */
  async #attempt(
    namespace: string,
    version: Version,
    preparation: Preparation,
  ): Promise<{ image?: PinnedImage } | { error: ReturnType<PilumError['toData']> } | null> {
    const { artifacts, workerId, logger } = this.#deps;
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.#closing.signal]);
    let message = version.spec.code?.image === undefined ? 'starting it once' : 'looking for the image';
    const notes = this.#noteAgainAndAgain(over.signal, async () => {
      // It was deleted meanwhile, or another worker has taken it over.
      if (!(await artifacts.notePreparation(namespace, version, workerId, message))) over.abort();
    });
    try {
      requireUsableTexts(version);
      return await preparation(namespace, version, {
        signal,
        onProgress: (text) => {
          message = text;
        },
      });
    } catch (thrown) {
      if (signal.aborted) return null;
      const error = toPilumError(thrown);
      if (error.code === 'INTERNAL') logEvent(logger, 'version-internal', { err: thrown });
      message = error.message;
      return error.code === 'RUNTIME_UNAVAILABLE' ? null : { error: error.toData() };
    } finally {
      over.abort();
      await notes;
    }
  }

  async #noteAgainAndAgain(over: AbortSignal, note: () => Promise<void>): Promise<void> {
    while (!over.aborted) {
      await note().catch((error: unknown) => logEvent(this.#deps.logger, 'progress-unnoted', { err: error }));
      await sleep(NOTE_INTERVAL_MS, undefined, { signal: over }).catch(() => undefined);
    }
  }
}
