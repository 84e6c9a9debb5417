import type { Logger } from 'pino';
import { qualifiedId } from '../redis/keys.ts';
import type { KeptStore } from '../store/kept-store.ts';

/** What settled tasks may hold together, bytes. */
export interface KeptLimits {
  readonly artifactBytes: number;
  readonly namespaceBytes: number;
}

interface Holding {
  readonly namespace: string;
  readonly artifactId: string;
  readonly bytes: number;
}

/** Entries that are looked at in one round, whether they have expired. */
const SWEPT = 500;
/** Pieces that are let go of one artifact in one round. */
const PIECES = 50;

/**
 * Goes round over what settled tasks hold. An artifact keeps to its limit by itself, with each task that ends; here it is held to a limit
 * that was lowered, a namespace to its own, and what has expired is taken out of the count.
 */
export class KeptRounds {
  readonly #kept: KeptStore;
  readonly #limits: KeptLimits;
  readonly #logger: Logger;
  /** Where to look for expired entries next. */
  readonly #sweepFrom = new Map<string, number>();
  #holdings: Holding[] = [];

  constructor(kept: KeptStore, limits: KeptLimits, logger: Logger) {
    this.#kept = kept;
    this.#limits = limits;
    this.#logger = logger;
  }

  /** Looks at a page of artifacts. */
  async look(page: readonly { readonly namespace: string; readonly artifactId: string }[]): Promise<void> {
    const bytes = await this.#kept.bytes(page);
    for (const [index, { namespace, artifactId }] of page.entries()) {
      const held = bytes[index] ?? 0;
      if (held <= 0) continue;
      this.#holdings.push({ namespace, artifactId, bytes: held });
      const id = qualifiedId(namespace, artifactId);
      const next = await this.#kept.sweep(namespace, artifactId, this.#sweepFrom.get(id) ?? 0, SWEPT);
      if (next === 0) this.#sweepFrom.delete(id);
      else this.#sweepFrom.set(id, next);
    }
  }

  /** Ends a round over all pages: lets go what is over the limits, the largest artifacts of a namespace first. */
  async end(): Promise<void> {
    const byNamespace = Map.groupBy(this.#holdings, ({ namespace }) => namespace);
    this.#holdings = [];
    for (const [namespace, holdings] of byNamespace) {
      let sum = 0;
      for (const { bytes } of holdings) sum += Math.min(bytes, this.#limits.artifactBytes);
      const over = sum - this.#limits.namespaceBytes;
      if (over > 0) {
        const { namespaceBytes } = this.#limits;
        this.#logger.warn(
          { namespace, bytes: sum, namespaceBytes },
          'the tasks of this namespace hold more than they may: the oldest results, logs and frames of its largest artifacts are let go',
        );
      }
      let left = Math.max(0, over);
      for (const { artifactId, bytes } of holdings.sort((a, b) => b.bytes - a.bytes)) {
        const held = Math.min(bytes, this.#limits.artifactBytes);
        const most = Math.max(0, held - left);
        left -= held - most;
        if (most < bytes) await this.#letGo(namespace, artifactId, most);
      }
    }
  }

  async #letGo(namespace: string, artifactId: string, mostBytes: number): Promise<void> {
    for (let piece = 0; piece < PIECES; piece += 1) {
      if (!(await this.#kept.letGo(namespace, artifactId, mostBytes))) return;
    }
  }
}
