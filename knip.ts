import type { KnipConfig } from 'knip';

/** What no import leads to: the programs that are started, and the files that a person or a test runs by name. */
const config: KnipConfig = {
  workspaces: {
    '.': {
      entry: ['test/**/*.test.ts', 'test/support/tally-reporter.ts', 'bench/*.ts', 'scripts/*.ts'],
      project: ['test/**/*.ts', 'bench/**/*.ts', 'scripts/**/*.ts', '*.ts'],
      // Fixtures are programs that tests start; functions under test may do what we would not.
      ignore: ['test/fixtures/**'],
      // Not imported: the Node that everything runs on.
      ignoreDependencies: ['node'],
    },
    'packages/core': { project: 'src/**/*.ts' },
    'apps/api': { entry: 'src/main.ts', project: 'src/**/*.ts' },
    'apps/worker': {
      entry: ['src/main.ts', 'src/runtimes/process/bootstrap/**/*.{mjs,cjs,js,ts}'],
      project: 'src/**/*.ts',
    },
    'apps/up': { entry: ['src/main.ts', 'setup/prepare.mjs'], project: ['src/**/*.ts', 'setup/**/*.mjs'] },
  },
  // A type that only its own file uses may still be part of what that file offers.
  ignoreExportsUsedInFile: { interface: true, type: true },
  // Set-up looks for these on PATH and installs them; biome, tsc, knip and vitest are run by path.
  ignoreBinaries: [],
};

export default config;
