import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { UnknownRecord } from '@pilum/core/store/unknown-record.ts';
import type { Logger } from 'pino';

/** Time that a queue is left to others whose next task is larger than this worker, ms. */
const LEFT_TO_OTHERS_MS = 5000;

/** The times at which a queue is left to other workers, because a task in it cannot run on this one. */
export class LeftToOthers {
  readonly #onBack: () => void;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  /** Reason for which it was last left to others, which is logged once. */
  #reason: string | null = null;

  /** @param onBack is called when the queue is this worker's again as well */
  constructor(onBack: () => void, logger: Logger) {
    this.#onBack = onBack;
    this.#logger = logger;
  }

  get isLeft(): boolean {
    return this.#timer !== undefined;
  }

  /** Leaves the queue from now on for a while, because of a task of this version, or one that this release does not know. */
  leave(what: Version | UnknownRecord): void {
    if (what instanceof UnknownRecord) {
      if (this.#isNew(JSON.stringify(what.problems))) logEvent(this.#logger, 'task-unknown', { problem: what.says });
    } else if (this.#isNew(String(what.version))) {
      const { artifactId, version, spec } = what;
      const { limits, interpreter } = spec;
      const { cpu, memoryMiB } = limits;
      logEvent(this.#logger, 'task-too-large', { artifactId, version, cpu, memoryMiB, interpreter });
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#onBack();
    }, LEFT_TO_OTHERS_MS);
  }

  #isNew(reason: string): boolean {
    if (this.#reason === reason) return false;
    this.#reason = reason;
    return true;
  }

  /** Stops waiting; the queue stays left where it is. */
  close(): void {
    clearTimeout(this.#timer);
  }
}
