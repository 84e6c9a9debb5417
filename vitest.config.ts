import { defineConfig } from 'vitest/config';

const inCi = Boolean(process.env.CI);

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'test/fixtures/**'],
    // Real processes and real signals: each file has a process of its own.
    pool: 'forks',
    // Most tests wait for other processes, so that one file for each core would leave the cores idle, and many more
    // would make the ones that measure time wait for each other.
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    // A forgotten .only would make everything green.
    allowOnly: !inCi,
    passWithNoTests: false,
    reporters: [inCi ? 'verbose' : 'default', './test/support/tally-reporter.ts'],
  },
});
