import type { Pilum } from '../targets/pilum.ts';
import { childrenOf, rssMiBOf } from './proc.ts';

const LOOK_INTERVAL_MS = 100;

export interface Grown {
  readonly before: number;
  readonly most: number;
}

/** The most memory that each process of a Pilum has while something is done, MiB. */
export class Peak {
  readonly #pids: Readonly<Record<'api' | 'worker' | 'redis', number>>;
  readonly #seen = new Map<string, { before: number; most: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(pilum: Pilum) {
    this.#pids = {
      api: pilum.api.pid,
      worker: pilum.workers[0]?.pid ?? 0,
      redis: childrenOf(pilum.redis.pid)[0] ?? 0,
    };
  }

  begin(): void {
    for (const [name, pid] of Object.entries(this.#pids)) {
      const now = rssMiBOf(pid);
      this.#seen.set(name, { before: now, most: now });
    }
    this.#timer = setInterval(() => this.#look(), LOOK_INTERVAL_MS);
  }

  end(): Readonly<Record<'api' | 'worker' | 'redis', Grown>> {
    clearInterval(this.#timer);
    this.#look();
    const of = (name: string) => this.#seen.get(name) ?? { before: Number.NaN, most: Number.NaN };
    return { api: of('api'), worker: of('worker'), redis: of('redis') };
  }

  #look(): void {
    for (const [name, pid] of Object.entries(this.#pids)) {
      const seen = this.#seen.get(name);
      if (seen !== undefined) seen.most = Math.max(seen.most, rssMiBOf(pid));
    }
  }
}
