import { setTimeout as sleep } from 'node:timers/promises';

/** For what hangs, ms: other programs may be at work on all processors, and no test measures speed by giving up. */
const PATIENCE_MS = 60_000;

export interface WaitOptions {
  /** What is waited for, for the error. */
  readonly what?: string;
  /** Only where it takes longer than a minute: a shorter one is taken for a minute. */
  readonly timeoutMs?: number;
  readonly everyMs?: number;
}

/**
 * Waits until `condition` gives something other than `false`, `undefined` or `null`, and returns that. A condition
 * that throws does not hold yet.
 * @throws after a generous time, with what the condition threw last.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { what = 'the condition', timeoutMs = 0, everyMs = 20 }: WaitOptions = {},
): Promise<Exclude<T, false | undefined | null>> {
  const limitMs = Math.max(PATIENCE_MS, timeoutMs);
  const deadline = performance.now() + limitMs;
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value !== false && value !== undefined && value !== null)
        return value as Exclude<T, false | undefined | null>;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) throw new Error(`${what}: not within ${limitMs} ms`, { cause });
    await sleep(everyMs);
  }
}
