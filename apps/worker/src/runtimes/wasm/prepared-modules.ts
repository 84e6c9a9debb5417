import type { EngineProcess } from './engine-process.ts';

/** Modules that nobody uses and an engine has loaded all the same: the next instance of one starts at once. */
const MAX_UNUSED = 128;

interface Entry {
  readonly prepared: Promise<void>;
  users: number;
}

/** The modules that one engine has ready, and who uses them. */
export class PreparedModules {
  readonly #engine: EngineProcess;
  /** The modules, those used last at the end. */
  readonly #entries = new Map<string, Entry>();

  constructor(engine: EngineProcess) {
    this.#engine = engine;
  }

  /**
   * Makes sure that a module is ready, and keeps it until `release` is called. Goes on where its caller does not wait any
   * more.
   * @param load has the engine load it
   * @throws what `load` throws
   */
  async hold(key: string, load: () => Promise<void>): Promise<{ release(): void }> {
    const entry = this.#entries.get(key) ?? { prepared: load(), users: 0 };
    this.#touch(key, entry);
    entry.users++;
    let isReleased = false;
    const release = () => {
      if (isReleased) return;
      isReleased = true;
      entry.users--;
      this.#shrink();
    };
    try {
      await entry.prepared;
    } catch (error) {
      release();
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
    return { release };
  }

  #touch(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
  }

  #shrink(): void {
    const unused = [...this.#entries].filter(([, { users }]) => users === 0);
    for (const [key] of unused.slice(0, Math.max(0, unused.length - MAX_UNUSED))) {
      this.#entries.delete(key);
      this.#engine.release(key);
    }
  }
}
