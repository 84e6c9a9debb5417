// biome-ignore-all lint/style/noDefaultExport: vitest loads a reporter by its default export.
import { writeSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/** Prints `N passed, N failed` (and `, N skipped`) as the very last line, in words that a script can read. */
class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    let passed = 0;
    let skipped = 0;
    // An error outside of any test fails the run, and so it counts.
    let failed = errors.length;
    for (const module of modules) {
      let failedHere = 0;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failedHere++;
        else skipped++;
      }
      // A file that cannot be loaded, or whose hooks fail, has failed even where none of its tests has.
      if (failedHere === 0 && module.state() === 'failed') failedHere = 1;
      failed += failedHere;
    }
    const tally = `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
    // The other reporter, and vitest itself, may still have something to say.
    process.once('exit', () => writeSync(1, `${tally}\n`));
  }
}

export default TallyReporter;
