import { defineConfig } from 'vitest/config';
import { findTestFiles } from './apps/up/setup/test-files.mjs';
import { LongestFirst } from './test/support/longest-first.ts';

const inCi = Boolean(process.env.CI);
// Set-up says so where no file was named.
const isQuick = process.env.PILUM_TEST_SET === 'quick';
const without = (process.env.PILUM_TEST_WITHOUT ?? '').split(' ');
const quickFiles = () =>
  findTestFiles(import.meta.dirname)
    .filter(({ quick, needs }) => quick && !needs.some((need) => without.includes(need)))
    .map(({ path }) => path);

export default defineConfig({
  test: {
    include: isQuick ? quickFiles() : ['test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/fixtures/**'],
    // Real processes and real signals: each file has a process of its own.
    pool: 'forks',
    // Most tests wait for other processes, so that one file for each core would leave the cores idle; and many more would
    // only make all of them wait for each other.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    // What a test starts, and every directory that it makes, goes with it however it ends.
    globalSetup: ['./test/support/room/run-room.ts'],
    setupFiles: ['./test/support/room/file-room.ts'],
    // Limits are for what hangs. They are no measure of speed: other programs may be at work on all processors.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    teardownTimeout: 60_000,
    // A forgotten .only would make everything green.
    allowOnly: !inCi,
    passWithNoTests: false,
    reporters: [inCi ? 'verbose' : 'default', './test/support/tally-reporter.ts'],
  },
});
