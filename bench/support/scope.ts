/** The order in which all is closed: whoever uses something goes before it. Those of one stage go together. */
const STAGES = ['process', 'redis', 'directory'] as const;
type Stage = (typeof STAGES)[number];

/** The things that one part of the bench has started. All of it ends when the part does, however that ends. */
export class Scope {
  readonly #closers: { readonly stage: Stage; readonly close: () => Promise<void> }[] = [];
  readonly #broken = Promise.withResolvers<never>();
  #closing: Promise<void> | undefined;

  constructor() {
    this.#broken.promise.catch(() => undefined);
  }

  /** Rejects when something in it has ended that should not have: what waits for it would wait for ever. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** Takes charge of something; closes it at once where all else is closed already. */
  async add(stage: Stage, close: () => Promise<void>): Promise<void> {
    this.#closers.push({ stage, close });
    if (this.#closing === undefined) return;
    await close();
    throw new Error('the bench is being stopped');
  }

  /** Gives a scope of its own to something shorter, which ends with it, or with this one. */
  async nested<T>(use: (inner: Scope) => Promise<T>): Promise<T> {
    const inner = new Scope();
    await this.add('process', () => inner.close());
    try {
      return await Promise.race([use(inner), inner.broken]);
    } finally {
      await inner.close();
    }
  }

  /** Something in it has failed by itself. */
  fail(error: Error): void {
    if (this.#closing === undefined) this.#broken.reject(error);
  }

  /** Ends everything. May be awaited twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const stage of STAGES) {
      await Promise.allSettled(this.#closers.filter((closer) => closer.stage === stage).map(({ close }) => close()));
    }
  }
}
