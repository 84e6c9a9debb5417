// biome-ignore-all lint/style/noDefaultExport: vitest loads a reporter by its default export.
import { writeSync } from 'node:fs';
import type { Reporter, TestCase, TestModule, TestSpecification } from 'vitest/node';

/** A run that takes longer hangs: many times what it takes on a machine that is busy with other things, minutes. */
const LIMIT_MIN = Number(process.env.PILUM_TEST_LIMIT_MIN ?? 60);
/** How many of the slowest are named. */
const SLOWEST = 10;
/** A run of so few files is somebody's look at them, who sees their times anyway. */
const FEW_FILES = 5;

/**
 * Ends a run that hangs, names what was slow, says what was left out, and prints `N passed, N failed`
 * (and `, N skipped`) as the very last line, in words that a script can read.
 */
class TallyReporter implements Reporter {
  readonly #waiting = new Set<string>();
  readonly #running = new Map<string, string>();
  readonly #ended: TestModule[] = [];
  #limit: NodeJS.Timeout | undefined;
  #hasGivenUp = false;

  onTestRunStart(specifications: readonly TestSpecification[]): void {
    for (const { moduleId } of specifications) this.#waiting.add(moduleId);
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => this.#giveUp(), LIMIT_MIN * 60_000);
    this.#limit.unref();
  }

  onTestModuleStart({ moduleId, relativeModuleId }: TestModule): void {
    this.#waiting.delete(moduleId);
    this.#running.set(moduleId, relativeModuleId);
  }

  onTestCaseReady({ module, fullName }: TestCase): void {
    this.#running.set(module.moduleId, `${module.relativeModuleId} > ${fullName}`);
  }

  onTestModuleEnd(module: TestModule): void {
    this.#running.delete(module.moduleId);
    this.#ended.push(module);
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    clearTimeout(this.#limit);
    if (this.#hasGivenUp) return;
    // An error outside of any test fails the run, and so it counts.
    const lines = [
      ...(modules.length > FEW_FILES ? slowestOf(modules) : []),
      ...leftOut(),
      tallyOf(modules, errors.length),
    ];
    // The other reporter, and vitest itself, may still have something to say.
    process.once('exit', () => writeSync(1, `${lines.join('\n')}\n`));
  }

  /** The runner is asked to stop as by a signal, after which nothing that it started is left. */
  #giveUp(): void {
    this.#hasGivenUp = true;
    const unfinished = this.#running.size + this.#waiting.size;
    console.error(`The tests have not ended within ${LIMIT_MIN} minutes. Still running:`);
    for (const what of this.#running.values()) console.error(`  ${what}`);
    console.error(`${this.#waiting.size} files have not begun.`);
    const tally = tallyOf(this.#ended, unfinished);
    process.once('exit', () => writeSync(1, `${tally}\n`));
    process.kill(process.pid, 'SIGTERM');
  }
}

function tallyOf(modules: readonly TestModule[], failures: number): string {
  let [passed, failed, skipped] = [0, failures, 0];
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
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function slowestOf(modules: readonly TestModule[]): string[] {
  const tests = modules.flatMap((module) => [...module.children.allTests()]);
  const timeOf = (test: TestCase) => test.diagnostic()?.duration ?? 0;
  const slowTests = tests.sort((a, b) => timeOf(b) - timeOf(a)).slice(0, SLOWEST);
  const slowFiles = modules.toSorted((a, b) => b.diagnostic().duration - a.diagnostic().duration).slice(0, SLOWEST);
  return [
    'The slowest tests:',
    ...slowTests.map((test) => `${seconds(timeOf(test))}  ${test.module.relativeModuleId} > ${test.fullName}`),
    'The slowest files:',
    ...slowFiles.map((module) => `${seconds(module.diagnostic().duration)}  ${module.relativeModuleId}`),
  ];
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1).padStart(7)} s`;

/** What the configuration has left out of this run, in its words. */
function leftOut(): string[] {
  const { PILUM_TEST_LEFT_OUT } = process.env;
  return PILUM_TEST_LEFT_OUT === undefined ? [] : [PILUM_TEST_LEFT_OUT];
}

export default TallyReporter;
