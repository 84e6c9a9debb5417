import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { findProgram } from './find-program.mjs';
import { install, PACKAGE_MANAGERS } from './package-managers.mjs';
import { Refusal } from './refusal.mjs';
import { excerpt, say, step } from './step.mjs';

/**
 * A program that does not come with npm.
 * @typedef {object} Program
 * @property {string[]} names What it may be called on PATH.
 * @property {Readonly<Record<string, string>>} packages By package manager, several with spaces between them; `other` where
 *   it is not listed.
 * @property {string} purpose What Pilum has it for.
 * @property {string} without What to do, or what will be missing, without it.
 * @property {boolean} [optional]
 * @property {boolean} [ownersChoice] We only say that it is missing: a daemon that runs as root is not for us to install.
 * @property {boolean} [wholeOnly] Large, and so installed only for the whole of the tests.
 * @property {boolean} [outsideHome] A copy below the home directory does not count: the sandbox does not see it.
 */

/** @satisfies {Readonly<Record<string, Program>>} */
export const PROGRAMS = {
  redis: {
    names: ['redis-server', 'valkey-server'],
    packages: { apt: 'redis-server', pacman: 'valkey', other: 'redis' },
    purpose: 'everything is kept in it',
    without: 'use another Redis with --redis URL',
  },
  bubblewrap: {
    names: ['bwrap'],
    packages: { other: 'bubblewrap' },
    purpose: 'it makes the sandbox that functions run in',
    without: 'run functions WITHOUT any sandbox with --isolation none',
  },
  python: {
    names: ['python3'],
    packages: { pacman: 'python', other: 'python3' },
    purpose: 'functions in Python run on it',
    without: 'functions in Python will not run',
    optional: true,
    outsideHome: true,
  },
  network: {
    names: ['nft'],
    packages: { other: 'nftables iproute2' },
    purpose: 'it closes the networks of functions to what their lists name',
    without: 'functions with limits.network egress or a list are refused',
    optional: true,
  },
  postgres: {
    names: ['postgres', 'pg_ctlcluster'],
    packages: { apt: 'postgresql python3-psycopg2', other: 'postgresql' },
    purpose: 'tests reach it through the networks of functions',
    without: 'tests of networks with a database are skipped',
    optional: true,
    wholeOnly: true,
  },
  docker: {
    names: ['dockerd', 'docker'],
    packages: { other: 'docker.io' },
    purpose: 'functions in containers run on its Engine',
    without: 'tests of functions in containers are skipped',
    optional: true,
    ownersChoice: true,
  },
  wasmLinker: {
    names: ['wasm-ld'],
    packages: { apt: 'clang lld wasi-libc', other: 'lld' },
    purpose: 'tests build WebAssembly modules in C with it',
    without: 'tests of WebAssembly that need modules in C are skipped',
    optional: true,
    wholeOnly: true,
  },
  jq: {
    names: ['jq'],
    packages: { other: 'jq' },
    purpose: 'tests type commands of the docs that pipe through it',
    without: 'tests that run jq are skipped',
    optional: true,
  },
};

/** Directories of programs of the system that are not on everyone's PATH. */
const SYSTEM_PROGRAMS = '/usr/sbin:/sbin';

/** @param {Program} program @param {NodeJS.ProcessEnv} environment */
function isHere(program, environment) {
  const { PATH = '', HOME = '' } = environment;
  const everywhere = `${PATH}:${SYSTEM_PROGRAMS}`;
  const path = program.outsideHome && HOME !== '' && HOME !== '/' ? withoutHome(everywhere, HOME) : everywhere;
  return findProgram(program.names, path) !== undefined;
}

/** @param {string} path @param {string} home */
const withoutHome = (path, home) =>
  path
    .split(':')
    .filter((directory) => !`${directory}/`.startsWith(`${home}/`))
    .join(':');

/**
 * Those that PATH does not have.
 * @param {readonly Program[]} programs
 * @param {NodeJS.ProcessEnv} environment
 */
export const missing = (programs, environment) => programs.filter((program) => !isHere(program, environment));

/**
 * Installs what is missing, with the machine's package manager and the rights that we have without asking. Before it does
 * it says what is missing and what for.
 * @param {readonly Program[]} programs
 * @param {NodeJS.ProcessEnv} environment
 * @param {string} logs Directory for logs.
 * @param {{ whole?: boolean, spared?: boolean, alternatives?: boolean }} [options] Whether large programs are wanted as
 *   well, whether all can be done without, and whether the ways to do without are for whoever reads the refusal.
 * @throws {Refusal} When one that is not optional is still missing; it says what to type.
 */
export async function ensurePrograms(
  programs,
  environment,
  logs,
  { whole = true, spared = false, alternatives = true } = {},
) {
  const all = missing(programs, environment);
  const isOurs = (/** @type {Program} */ { ownersChoice, wholeOnly }) => !ownersChoice && (whole || !wholeOnly);
  for (const { names, without } of all.filter((program) => !isOurs(program))) {
    say(`${names[0]} is not installed: ${without}`);
  }
  const absent = all.filter(isOurs);
  if (absent.length === 0) return;
  const [kind, manager] =
    Object.entries(PACKAGE_MANAGERS).find(([, { program }]) => findProgram([program], environment.PATH)) ?? [];
  const packagesOf = (/** @type {readonly Program[]} */ wanted) =>
    wanted.flatMap(({ packages }) => (packages[kind ?? ''] ?? packages.other).split(' '));
  const rights = manager === undefined ? undefined : rightsFor(manager, environment);

  let failed = '';
  if (manager !== undefined && rights !== undefined) {
    for (const { names, purpose } of absent) say(`${names[0]} is missing: ${purpose}`);
    const packages = packagesOf(absent);
    const log = join(logs, 'packages.log');
    await step(`installing ${packages.join(', ')} with ${manager.program}`, log, async (run) => {
      if (await install(manager, packages, rights, run)) return;
      console.error(excerpt(log));
      failed = `${manager.program} could not install ${packages.join(' and ')} (the lines above are from ${log})`;
    });
  }

  const still = missing(absent, environment);
  for (const { names, without } of still.filter(({ optional }) => optional)) {
    say(`${names[0]} is not installed: ${without}`);
  }
  const needed = spared ? [] : still.filter(({ optional }) => !optional);
  if (needed.length === 0) return;
  const why = failed || 'this user may not install packages';
  const what =
    manager === undefined
      ? `install ${packagesOf(needed).join(' and ')}`
      : `type \`${manager.refusesRoot ? '' : 'sudo '}${[manager.program, ...manager.install.filter((word) => /^(install|add|-S)$/.test(word)), ...packagesOf(needed)].join(' ')}\``;
  throw new Refusal(
    `${needed.map(({ names }) => names[0]).join(' and ')} ${needed.length > 1 ? 'are' : 'is'} missing and ${why}: ${what} and start again${alternatives ? `, or ${needed.map(({ without }) => without).join(', or ')}` : ''}.`,
  );
}

/**
 * Returns the words before the command with which it may install, or nothing when we have no such right.
 * @param {import('./package-managers.mjs').PackageManager} manager
 * @param {NodeJS.ProcessEnv} environment
 * @returns {string[] | undefined}
 */
function rightsFor(manager, environment) {
  const root = process.getuid?.() === 0;
  if (manager.refusesRoot) return root ? undefined : [];
  if (root) return [];
  const sudo = findProgram(['sudo'], environment.PATH);
  return sudo !== undefined && spawnSync(sudo, ['-n', 'true'], { stdio: 'ignore' }).status === 0
    ? [sudo, '-n']
    : undefined;
}
