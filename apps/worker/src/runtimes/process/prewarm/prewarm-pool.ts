import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import type { Spare } from '../../contract/runtime.ts';
import type { PrewarmedSandbox, PrewarmShape } from './prewarmed-sandbox.ts';

/**
 * The age at which a sandbox is replaced, ms: a library of the machine or the interpreter may have changed since it was
 * made.
 */
const MAX_AGE_MS = 15 * 60_000;
/** The pauses until the next look, where nothing is missing and where a prewarmed sandbox is held back, ms. */
const CALM_MS = 10_000;
const HELD_BACK_MS = 50;
/** A worker that is always busy gets one every so often: what is made ahead has a low weight. */
const LONGEST_HOLD_MS = 20_000;
/** The pauses after a sandbox that could not be made, or died, ms: doubled each time in a row, up to the last. */
const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 60_000;

export interface StockDeps<S extends PrewarmShape> {
  /** Prewarmed sandboxes that stand ready for each language. */
  readonly count: number;
  /** Makes one that is ready. @throws Error where it cannot, after everything that was begun is undone */
  readonly make: (shape: S, signal: AbortSignal) => Promise<PrewarmedSandbox>;
  readonly logger: Logger;
}

/**
 * The prewarmed sandboxes that stand ready: so many for each language, of the shapes that were asked for last, and one of them of the
 * usual shape. Those that are missing are made in the background, one at a time; those for which the instances leave no
 * memory go.
 */
export class PrewarmPool<S extends PrewarmShape> {
  readonly #deps: StockDeps<S>;
  readonly #usual = new Map<string, S>();
  /** The shapes that were asked for, by language, the newest first. */
  readonly #asked = new Map<string, S[]>();
  readonly #standing = new Set<PrewarmedSandbox>();
  readonly #closing = new AbortController();
  #spare: Spare | null = null;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | null = null;
  #heldSinceMs: number | null = null;
  #pauseMs = 0;
  #notBeforeMs = 0;

  constructor(deps: StockDeps<S>) {
    this.#deps = deps;
  }

  /** Begins to make prewarmed sandboxes of these shapes, one for each language, and of what is asked for. */
  open(usual: readonly S[], spare: Spare): void {
    for (const shape of usual) this.#usual.set(shape.language, shape);
    this.#spare = spare;
    this.#look(0);
  }

  /** Asks for a prewarmed sandbox of this shape, which is made in the background. */
  expect(shape: S): void {
    const asked = this.#asked.get(shape.language) ?? [];
    this.#asked.set(shape.language, [shape, ...asked].slice(0, Math.max(1, this.#deps.count - 1)));
    this.#look(HELD_BACK_MS);
  }

  /** A prewarmed sandbox of exactly this shape, which is the caller's from now on; null where none stands. */
  take(shape: S): PrewarmedSandbox | null {
    for (const prewarmed of this.#standing) {
      if (prewarmed.shape.key !== shape.key) continue;
      this.#standing.delete(prewarmed);
      return prewarmed;
    }
    return null;
  }

  /** Lets those go for which the instances leave no memory. */
  makeRoom(): void {
    let missingMiB = this.#standingMiB() - (this.#spare?.memoryMiB() ?? 0);
    for (const prewarmed of this.#standing) {
      if (missingMiB <= 0) return;
      missingMiB -= prewarmed.shape.memoryMiB;
      this.#standing.delete(prewarmed);
      void prewarmed.discard();
    }
  }

  /** Counts the wanted sandboxes that stand ready, by language. */
  ready(): Record<string, number> {
    const { missing } = this.#compare();
    const ready = [...this.#languages()].map((language) => [
      language,
      this.#wanted(language).length - missing.filter((shape) => shape.language === language).length,
    ]);
    return Object.fromEntries(ready);
  }

  /** Stops the making of sandboxes for a while, longer each time in a row: the last one died, or was of no use. */
  pause(): void {
    this.#pauseMs = Math.min(LAST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, 2 * this.#pauseMs));
    this.#notBeforeMs = performance.now() + this.#pauseMs;
  }

  /** Ends all of them and waits. May be awaited twice. */
  async close(): Promise<void> {
    this.#closing.abort(new Error('the worker is stopping'));
    clearTimeout(this.#timer);
    await this.#round;
    await Promise.all([...this.#standing].map((prewarmed) => prewarmed.discard()));
  }

  #languages(): Set<string> {
    return new Set([...this.#usual.keys(), ...this.#asked.keys()]);
  }

  #wanted(language: string): S[] {
    const asked = this.#asked.get(language) ?? [];
    const usual = this.#usual.get(language);
    if (usual === undefined) return asked;
    return [...asked, ...Array.from({ length: this.#deps.count - asked.length }, () => usual)];
  }

  #standingMiB(): number {
    let sum = 0;
    for (const { shape } of this.#standing) sum += shape.memoryMiB;
    return sum;
  }

  /** Returns the shapes that are missing, and the sandboxes that stand and are not wanted any more. */
  #compare(): { missing: S[]; surplus: PrewarmedSandbox[] } {
    const missing = [...this.#languages()].flatMap((language) => this.#wanted(language));
    const surplus: PrewarmedSandbox[] = [];
    for (const prewarmed of this.#standing) {
      const index = missing.findIndex(({ key }) => key === prewarmed.shape.key);
      const isOld = performance.now() - prewarmed.madeAtMs > MAX_AGE_MS;
      if (index < 0 || isOld) surplus.push(prewarmed);
      else missing.splice(index, 1);
    }
    return { missing, surplus };
  }

  /** Looks after the stock in so many ms, unless it is being looked after already. */
  #look(inMs: number): void {
    if (this.#spare === null || this.#round !== null || this.#closing.signal.aborted) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => {
        this.#round = this.#tend().then((againInMs) => {
          this.#round = null;
          this.#look(againInMs);
        });
      },
      Math.max(inMs, this.#notBeforeMs - performance.now()),
    );
    this.#timer.unref();
  }

  /** Makes one that is missing, and says when to look again, ms. */
  async #tend(): Promise<number> {
    const { missing, surplus } = this.#compare();
    for (const prewarmed of surplus) this.#standing.delete(prewarmed);
    await Promise.all(surplus.map((prewarmed) => prewarmed.discard()));
    this.makeRoom();
    const [next] = missing;
    if (next === undefined || !this.#hasMemoryFor(next)) {
      this.#heldSinceMs = null;
      return CALM_MS;
    }
    if (this.#isHeldBack()) return HELD_BACK_MS;
    this.#heldSinceMs = null;
    await this.#make(next);
    return 0;
  }

  #hasMemoryFor(shape: S): boolean {
    return this.#standingMiB() + shape.memoryMiB <= (this.#spare?.memoryMiB() ?? 0);
  }

  #isHeldBack(): boolean {
    if (this.#spare?.isBusy() !== true) return false;
    this.#heldSinceMs ??= performance.now();
    return performance.now() - this.#heldSinceMs < LONGEST_HOLD_MS;
  }

  async #make(shape: S): Promise<void> {
    const { logger, make } = this.#deps;
    const { language } = shape;
    try {
      const prewarmed = await make(shape, this.#closing.signal);
      this.#standing.add(prewarmed);
      this.#pauseMs = 0;
      void prewarmed.ended.then(() => {
        if (!this.#standing.delete(prewarmed) || this.#closing.signal.aborted) return;
        logEvent(logger, 'prewarmed-died', { language });
        void prewarmed.discard();
        this.pause();
        this.#look(0);
      });
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      logEvent(logger, 'prewarmed-not-made', { err: error, language });
      this.#forget(shape);
      this.pause();
    }
  }

  /** Forgets a shape that could not be made: the other shapes are not to wait for it. */
  #forget({ language, key }: S): void {
    this.#asked.set(
      language,
      (this.#asked.get(language) ?? []).filter((asked) => asked.key !== key),
    );
  }
}
