import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Refusal } from './refusal.mjs';

/** The text that `npm run up -- --help` prints. */
export const USAGE = `npm run up -- [options]

  --port 8080             port that the API listens on; 0 for a free one
  --host 127.0.0.1        address that the API listens on; off loopback PILUM_API_KEY must be set
  --workers 1             how many workers run here
  --data .pilum           directory for everything that is kept
  --redis URL             use this Redis (redis://, rediss://, redis+sentinel:// or unix://) instead of one of our own
  --isolation sandbox     none runs functions WITHOUT a sandbox, as the user who starts Pilum
  --help                  this page

Where an option is left out, PILUM_PORT, PILUM_HOST, PILUM_DATA, PILUM_REDIS_URL and PILUM_ISOLATION count.
All other PILUM_… variables are passed on to the parts; docs/configuration.md lists them.`;

/** The text that `npm run dev -- --help` prints. */
export const DEV_USAGE = `npm run dev -- [options]

Like npm run up; API and worker start again when their source changes, and functions are deployed again when theirs do.

  --function NAME=PATH    deploy this file, or directory of files, as NAME; may be given several times
  --functions DIRECTORY   deploy all that lies in it, each file and directory under its own name

A file NAME.json beside a function's file, or pilum.json in its directory, has what its spec says besides code and entry.

${USAGE.split('\n').slice(2).join('\n')}`;

/**
 * The options of `up`.
 * @typedef {object} UpOptions
 * @property {boolean} help
 * @property {string} host
 * @property {number} port 0 for a free one.
 * @property {number} workers
 * @property {string} data Absolute.
 * @property {string | undefined} redisUrl Left out: a Redis of our own.
 * @property {'sandbox' | 'none'} isolation
 */

/**
 * The options of `dev`.
 * @typedef {UpOptions & { functions: { name: string, path: string }[], directories: string[] }} DevOptions Paths are absolute.
 */

const MAX_WORKERS = 64;

/** An artifact's id, as the API takes it. */
const ARTIFACT_ID = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const DEV_FLAGS = /** @type {const} */ ({
  function: { type: 'string', multiple: true },
  functions: { type: 'string', multiple: true },
});

/**
 * Reads the arguments of `dev`: its own, and all that `up` takes.
 * @param {readonly string[]} argv
 * @param {Readonly<Record<string, string | undefined>>} environment
 * @param {{ here: string, root: string }} directories As for {@link readArguments}.
 * @returns {DevOptions}
 * @throws {Refusal}
 */
export function readDevArguments(argv, environment, directories) {
  const { tokens } = parseArgs({ args: [...argv], strict: false, tokens: true, options: { ...DEV_FLAGS, ...FLAGS } });
  /** @type {DevOptions['functions']} */
  const functions = [];
  /** @type {string[]} */
  const own = [];
  const ours = new Set();
  for (const token of tokens) {
    if (token.kind !== 'option' || !Object.hasOwn(DEV_FLAGS, token.name)) continue;
    ours.add(token.index);
    if (!token.inlineValue) ours.add(token.index + 1);
    if (token.name === 'functions') {
      if (!token.value) throw wrong('--functions needs a directory, for example ./functions.', DEV_USAGE);
      own.push(resolve(directories.here, token.value));
      continue;
    }
    const [, name = '', path = ''] = /^([^=]*)=(.+)$/.exec(token.value ?? '') ?? [];
    if (!ARTIFACT_ID.test(name) || path === '') {
      throw wrong(
        `--function needs a name and a file, as in hello=./hello.mjs, not "${token.value ?? ''}".`,
        DEV_USAGE,
      );
    }
    functions.push({ name, path: resolve(directories.here, path) });
  }
  const rest = argv.filter((_, index) => !ours.has(index));
  return { ...readArguments(rest, environment, directories), functions, directories: own };
}

/**
 * Reads arguments and environment; a flag goes before a variable, a variable before the default.
 * @param {readonly string[]} argv
 * @param {Readonly<Record<string, string | undefined>>} environment
 * @param {{ here: string, root: string }} directories `here` is where the user typed, `root` is the repository.
 * @returns {UpOptions}
 * @throws {Refusal} In one sentence, followed by the usage where the arguments themselves are wrong.
 */
export function readArguments(argv, environment, { here, root }) {
  const flags = parse(argv);
  /** @param {string | undefined} flag @param {string} variable */
  const either = (flag, variable) => flag ?? (environment[variable] || undefined);

  const host = (either(flags.host, 'PILUM_HOST') ?? '127.0.0.1').replace(/^\[(.*)\]$/, '$1');
  if (host === '') throw wrong('--host needs an address, for example 127.0.0.1.');
  const redisUrl = either(flags.redis, 'PILUM_REDIS_URL');
  if (redisUrl !== undefined && !/^(rediss?(\+sentinel)?|unix):\/\/./.test(redisUrl)) {
    throw wrong(
      `--redis needs a URL that begins with redis://, rediss://, redis+sentinel:// or unix://, not "${redisUrl}".`,
    );
  }
  const isolation = either(flags.isolation, 'PILUM_ISOLATION') ?? 'sandbox';
  if (isolation !== 'sandbox' && isolation !== 'none') {
    throw wrong(`--isolation is sandbox or none, not "${isolation}".`);
  }
  if (flags.data === '') throw wrong('--data needs a directory, for example .pilum.');

  const options = {
    help: flags.help ?? false,
    host,
    port: integer('--port', either(flags.port, 'PILUM_PORT') ?? '8080', 0, 65_535),
    workers: integer('--workers', flags.workers ?? '1', 1, MAX_WORKERS),
    data: flags.data === undefined ? resolve(root, environment.PILUM_DATA || '.pilum') : resolve(here, flags.data),
    redisUrl,
    isolation: /** @type {'sandbox' | 'none'} */ (isolation),
  };
  if (!options.help && !isLoopback(host) && !environment.PILUM_API_KEY) {
    throw new Refusal(
      `--host ${host} can be reached from other machines, so the API needs a key: set PILUM_API_KEY (at least 16 characters) and start again.`,
    );
  }
  if (!options.help && isYes(environment.PILUM_ALLOW_HOST_NETWORK)) refuseOpenHouse(options, environment);
  return options;
}

/**
 * A function with the network of the machine reaches what listens here.
 * @param {UpOptions} options
 * @param {Readonly<Record<string, string | undefined>>} environment
 */
function refuseOpenHouse({ redisUrl }, environment) {
  const given = 'PILUM_ALLOW_HOST_NETWORK gives functions the network of this machine';
  if (!environment.PILUM_API_KEY) {
    throw new Refusal(
      `${given}, where one could do all that you can do, because the API has no key: set PILUM_API_KEY (at least 16 characters) and start again, or leave PILUM_ALLOW_HOST_NETWORK out.`,
    );
  }
  if (redisUrl !== undefined && !redisUrl.startsWith('unix://') && !hasPassword(redisUrl)) {
    throw new Refusal(
      `${given}, where one could do everything to the Redis of --redis, because its URL has no password: give it one (redis://:password@host:port), or leave PILUM_ALLOW_HOST_NETWORK out.`,
    );
  }
}

/** Whether a URL of Redis has a password, before one host or several. @param {string} url */
const hasPassword = (url) => /^[a-z+]+:\/\/[^/]*:[^/@]+@/.test(url);

/** As the configuration reads it: whatever is not plainly no. @param {string | undefined} value */
const isYes = (value) => value !== undefined && value !== '' && !/^(false|0)$/i.test(value);

/** @param {string} host */
function isLoopback(host) {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

const FLAGS = /** @type {const} */ ({
  help: { type: 'boolean', short: 'h' },
  host: { type: 'string' },
  port: { type: 'string' },
  workers: { type: 'string' },
  data: { type: 'string' },
  redis: { type: 'string' },
  isolation: { type: 'string' },
});

/** @param {readonly string[]} argv */
function parse(argv) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: false,
      options: FLAGS,
    }).values;
  } catch (error) {
    // Node's own message goes on with a hint about `--`, which is not about us.
    throw wrong(`${/** @type {Error} */ (error).message.split(/\. |\n/, 1)[0].replace(/\.$/, '')}.`);
  }
}

/** @param {string} name @param {string} text @param {number} least @param {number} most */
function integer(name, text, least, most) {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw wrong(`${name} is a whole number from ${least} to ${most}, not "${text}".`);
}

/** @param {string} sentence */
const wrong = (sentence, usage = USAGE) => new Refusal(`${sentence}\n\n${usage}`);
