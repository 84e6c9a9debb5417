import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DEV_USAGE, readArguments, readDevArguments, USAGE } from './arguments.mjs';
import { ensureModules, modulesAreReady, ownNode } from './node-modules.mjs';
import { ensurePrograms, missing, PROGRAMS } from './programs.mjs';
import { Refusal } from './refusal.mjs';
import { withSetupLock } from './setup-lock.mjs';
import { filesNamedBy, findTestFiles, namesOfNothing } from './test-files.mjs';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const LOGS = join(ROOT, '.pilum', 'setup');
const { redis, bubblewrap, network, python } = PROGRAMS;

/**
 * The programs that an npm script needs, and the command that it then is.
 * @typedef {object} Recipe
 * @property {import('./programs.mjs').Program[]} programs
 * @property {string[]} command For Pilum's own Node.
 * @property {boolean} [whole] Large programs are installed as well.
 * @property {() => void} [without] Is told before the program starts where some of the programs are still missing; else they are indispensable.
 * @property {boolean} [leash] The program ends when we do, even by SIGKILL: it has an IPC channel and watches it.
 */

/** Interval at which we look whether npm is still there, ms. */
const LOOK_MS = 500;

/** Biome colours what nobody sees when it believes to be in CI. */
const NO_COLOURS = process.stdout.isTTY ? [] : ['--colors=off'];

/** @type {Readonly<Record<string, Recipe>>} */
const RECIPES = {
  lint: { programs: [], command: ['node_modules/.bin/biome', 'ci', '--error-on-warnings', ...NO_COLOURS, '.'] },
  format: { programs: [], command: ['node_modules/.bin/biome', 'check', '--write', '.'] },
  'lint:others': { programs: [], command: ['tools/lint-others.ts'] },
  typecheck: { programs: [], command: ['node_modules/.bin/tsc'] },
  unused: { programs: [], command: ['node_modules/.bin/knip'] },
  bench: { programs: [redis, bubblewrap], command: ['bench/run.ts'] },
  chaos: { programs: [redis, bubblewrap], command: ['test/chaos/main.ts'] },
  fuzz: { programs: [redis], command: ['test/fuzz/main.ts'] },
  docs: { programs: [], command: ['tools/generate-docs.ts'] },
  inspect: { programs: [], command: ['tools/inspect.ts'] },
  secrets: { programs: [], command: ['tools/secrets.ts'] },
  'keep-release': { programs: [], command: ['tools/keep-release.ts'] },
  'build:wasmtime': { programs: [], command: ['tools/build-wasmtime.ts'] },
  node: { programs: [], command: [] },
};

/**
 * Prepares the machine for one npm script and becomes that script.
 * @param {readonly string[]} argv The recipe and the arguments for it.
 */
export async function setUp([name, ...args]) {
  // Where the user typed: npm says so, since it goes to the repository itself.
  process.env.INIT_CWD ??= process.cwd();
  process.chdir(ROOT);
  try {
    const isUp = name === 'up' || name === 'dev';
    const recipe = isUp ? up(name, args) : name?.startsWith('test') ? tests(name, args) : RECIPES[name];
    if (recipe === undefined) throw new Refusal(`There is no recipe "${name}".`);
    // The usual case takes no lock, and so waits for nobody.
    if (!modulesAreReady(ROOT) || missing(recipe.programs, process.env).length > 0) {
      await withSetupLock(join(LOGS, 'lock'), async () => {
        await ensureModules(ROOT, LOGS);
        await ensurePrograms(recipe.programs, process.env, LOGS, {
          whole: recipe.whole,
          spared: recipe.without !== undefined,
          alternatives: isUp,
        });
      });
    }
    recipe.without?.();
    handOver(recipe, args);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

/**
 * Arguments are read before anything is installed: a typing error, or `--help`, should not take a minute.
 * @param {'up' | 'dev'} name
 * @param {readonly string[]} args
 * @returns {Recipe}
 */
function up(name, args) {
  const read = name === 'up' ? readArguments : readDevArguments;
  const options = read(args, process.env, { here: process.env.INIT_CWD ?? ROOT, root: ROOT });
  if (options.help) {
    console.log(name === 'up' ? USAGE : DEV_USAGE);
    process.exit(0);
  }
  const programs = [python];
  if (options.isolation === 'sandbox') programs.unshift(bubblewrap, network);
  if (options.redisUrl === undefined) programs.unshift(redis);
  return { programs, command: [name === 'up' ? 'apps/up/src/main.ts' : 'apps/up/src/dev-main.ts'], leash: true };
}

/**
 * The tests that were asked for, and the programs that these need. `test` is what is quick everywhere, `test:all` is
 * everything; files that are named are run whatever they are.
 * @param {string} name
 * @param {readonly string[]} args
 * @returns {Recipe}
 */
function tests(name, args) {
  const files = findTestFiles(ROOT);
  const [unknown] = namesOfNothing(files, args);
  if (unknown !== undefined)
    throw new Refusal(`No test file has ${unknown} in its path. They are below test/, and end with .test.ts.`);
  const named = filesNamedBy(files, args);
  const isQuick = name !== 'test:all' && named.length === 0;
  const wanted = named.length > 0 ? named : isQuick ? files.filter(({ quick }) => quick) : files;
  const needs = new Set(wanted.flatMap(({ needs }) => needs));
  const programs = Object.entries(PROGRAMS).filter(([program]) => needs.has(program));
  // A machine where nothing may be installed runs what it can.
  const without = () => {
    const absent = [...needs].filter((need) => missing([PROGRAMS[need]], process.env).length > 0);
    const left = wanted.filter((file) => file.needs.some((need) => absent.includes(need)));
    const said = [
      `Left out: ${files.length - wanted.length} of ${files.length} test files, which start whole Pilums, containers or compilers, or take long. To run everything: npm run verify`,
      ...(left.length > 0
        ? [`Left out as well: ${left.length} test files that need ${absent.join(', ')}, which is not on this machine.`]
        : []),
    ];
    process.env.PILUM_TEST_SET = 'quick';
    process.env.PILUM_TEST_WITHOUT = absent.join(' ');
    process.env.PILUM_TEST_LEFT_OUT = said.join('\n');
  };
  return {
    programs: programs.map(([, program]) => program),
    whole: name === 'test:all' || Boolean(process.env.CI),
    command: ['node_modules/vitest/vitest.mjs', name === 'test:watch' ? 'watch' : 'run'],
    ...(isQuick ? { without } : {}),
    leash: true,
  };
}

/**
 * Runs the real program on Pilum's own Node, tells it of every signal and ends as it ends.
 * @param {Recipe} recipe
 * @param {readonly string[]} args
 */
function handOver({ command, leash }, args) {
  const child = spawn(ownNode(ROOT), [...command, ...args], {
    stdio: leash ? ['inherit', 'inherit', 'inherit', 'ipc'] : 'inherit',
  });
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
    process.on(signal, () => child.kill(signal));
  if (leash && process.env.npm_lifecycle_event !== undefined) {
    // npm passes signals on, but not the one that kills it.
    const npm = process.ppid;
    const timer = setInterval(() => {
      if (process.ppid === npm) return;
      clearInterval(timer);
      child.kill('SIGTERM');
    }, LOOK_MS);
  }
  child.once('error', (error) => {
    console.error(`${ownNode(ROOT)} could not be started: ${error.message}.`);
    process.exit(1);
  });
  child.once('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal ?? 'SIGKILL']));
}
