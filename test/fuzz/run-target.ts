import fc from 'fast-check';
import type { FuzzTarget } from './target.ts';

export interface FuzzOptions {
  /** Where to begin; each batch of inputs has a seed of its own, one more than the last. */
  readonly seed: number;
  /** Where in a batch to begin, as an earlier failure has named it. */
  readonly path?: string;
  /** Begin no batch after so long, ms; null: one batch. */
  readonly forMs: number | null;
  /** Inputs of a batch. */
  readonly inputs: number;
  readonly signal?: AbortSignal;
}

export interface FuzzResult {
  readonly inputs: number;
  readonly failure: { readonly seed: number; readonly path: string; readonly report: string } | null;
}

/** Tries a target with one batch of inputs after the other, until one fails or the time is over. */
export async function runTarget(target: FuzzTarget, options: FuzzOptions): Promise<FuzzResult> {
  const { forMs, path, signal } = options;
  const until = performance.now() + (forMs ?? 0);
  const { property, close } = await target.open();
  let inputs = 0;
  try {
    for (let { seed } = options; ; seed++) {
      const leftMs = until - performance.now();
      const details = await fc.check(property, {
        seed,
        numRuns: options.inputs,
        ...(path === undefined ? {} : { path }),
        ...(forMs === null ? {} : { interruptAfterTimeLimit: Math.max(1000, leftMs), markInterruptAsFailure: false }),
      });
      inputs += details.numRuns;
      if (details.failed) {
        const report = (await fc.asyncDefaultReportMessage(details)) ?? 'it failed';
        return { inputs, failure: { seed, path: details.counterexamplePath ?? '', report } };
      }
      if (path !== undefined || signal?.aborted === true || performance.now() >= until)
        return { inputs, failure: null };
    }
  } finally {
    await close();
  }
}
