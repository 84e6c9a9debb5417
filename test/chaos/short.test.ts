// @needs bubblewrap
// @set whole: a whole Pilum under faults for a minute.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Verdict } from './checker/checker.ts';
import { runLateAttempts } from './run/late-attempts.ts';
import { runChaos } from './run/run.ts';
import { summaryOf } from './run/summary.ts';

/** A run takes a minute or two, and many where other programs are at work, ms. */
const LIMIT_MS = 15 * 60_000;
const WITHOUT_FENCE = fileURLToPath(new URL('without-fence.ts', import.meta.url));

/** A run in a directory of its own, which stays where something is wrong with it. */
async function inDirectory(
  run: (directory: string) => Promise<Verdict>,
  isAsExpected: (verdict: Verdict) => boolean,
): Promise<Verdict> {
  const directory = mkdtempSync(join(tmpdir(), 'pilum-chaos-'));
  const verdict = await run(directory);
  if (isAsExpected(verdict)) rmSync(directory, { recursive: true, force: true });
  else console.log(`${summaryOf(verdict)}\nhistory and logs in ${directory}`);
  return verdict;
}

const isClean = ({ violations }: Verdict) => violations.length === 0;

describe('whatever dies', () => {
  it('every accepted task has its one outcome, and no caller waits too long', { timeout: LIMIT_MS }, async ({
    signal,
  }) => {
    const { violations, ledger } = await inDirectory(
      (directory) =>
        runChaos({
          seed: 'short',
          tasks: 200,
          rate: 8,
          timesEach: 1,
          faults: ['worker-kill', 'api-kill', 'redis-kill', 'connections-cut', 'replies-dropped'],
          workers: 2,
          directory,
          signal,
        }),
      isClean,
    );
    expect(violations).toEqual([]);
    expect(ledger.requests.size).toBeGreaterThanOrEqual(200);
    expect(new Set([...ledger.faults.values()].map(({ kind }) => kind)).size).toBe(5);
  });
});

// Each of them waits for most of its time.
describe.concurrent('late attempts of a worker that was stopped', () => {
  it('change no outcome', { timeout: LIMIT_MS }, async ({ expect, signal }) => {
    const run = (directory: string) => runLateAttempts({ directory, signal });
    const { violations, ledger } = await inDirectory(run, isClean);
    expect(violations).toEqual([]);
    // It was put to the test: each was executed twice, and each execution came to an end.
    expect([...ledger.tasks.values()].map(({ ends }) => ends.length)).toEqual([2, 2, 2, 2]);
  });

  it('are seen by the checker where the fence is taken out', { timeout: LIMIT_MS }, async ({ expect, signal }) => {
    const run = (directory: string) =>
      runLateAttempts({ directory, signal, workerExecArgv: ['--import', WITHOUT_FENCE] });
    const { violations } = await inDirectory(run, (verdict) => !isClean(verdict));
    expect(violations.map(({ rule }) => rule)).toContain('changed-outcome');
  });
});
