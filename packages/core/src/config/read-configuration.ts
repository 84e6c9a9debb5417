import { resolve } from 'node:path';
import { ConfigurationError } from '../errors/pilum-error.ts';
import { convert, type Problem, problemsOf } from '../schemas/check.ts';
import { Configuration, type Part } from './config.ts';
import { parseRedisUrl } from './redis-url.ts';

const PREFIX = 'PILUM_';
/** Names that variables had in earlier releases, which still work. */
const EARLIER_NAMES: Readonly<Record<string, keyof Configuration>> = { BLANKS: 'PREWARM' };
/** Settings whose default differs from machine to machine. */
const MACHINE_DEFAULTS: ReadonlySet<string> = new Set(['REDIS_MEMORY_MIB', 'WORKER_ID', 'WORKER_MEMORY_MIB']);

/** One line of the configuration's page. */
export interface ConfigurationRow {
  readonly variable: string;
  readonly parts: readonly Part[];
  readonly default: unknown;
  readonly description: string;
}

export function configurationRows(): ConfigurationRow[] {
  const earlier = new Map(Object.entries(EARLIER_NAMES).map(([old, name]) => [name as string, PREFIX + old]));
  return Object.entries(Configuration.properties).map(([name, schema]) => {
    const {
      description,
      parts,
      default: fallback,
    } = schema as unknown as {
      description: string;
      parts: readonly Part[];
      default?: unknown;
    };
    const alias = earlier.get(name);
    return {
      variable: PREFIX + name,
      parts,
      default: MACHINE_DEFAULTS.has(name) ? undefined : fallback,
      description: alias === undefined ? description : `${description} ${alias}, its earlier name, works as well.`,
    };
  });
}

/**
 * Reads the configuration from an environment.
 * @throws ConfigurationError `CONFIGURATION_INVALID` with every problem at once: wrong values and unknown `PILUM_…` names.
 */
export function readConfiguration(environment: Readonly<Record<string, string | undefined>>): Configuration {
  const problems: Problem[] = [];
  const given: Record<string, string> = {};
  /** The variable that each setting was read from. */
  const sources = new Map<string, string>();
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith(PREFIX) || value === undefined || value === '') continue;
    const name = settingOf(variable);
    if (name === null) {
      problems.push({ where: variable, what: 'is not a setting that Pilum knows; docs/configuration.md lists them' });
    } else if (given[name] !== undefined && given[name] !== value) {
      problems.push({ where: variable, what: `and ${sources.get(name)} are two names of one setting, and differ` });
    } else {
      given[name] = value;
      sources.set(name, variable);
    }
  }
  const value = convert(Configuration, given);
  for (const problem of problemsOf(Configuration, value)) {
    const name = problem.where.replace(/^\//, '');
    problems.push({ where: sources.get(name) ?? PREFIX + name, what: problem.what });
  }
  if (typeof given.REDIS_URL === 'string' && !problems.some(({ where }) => where === `${PREFIX}REDIS_URL`)) {
    problems.push(...problemsOfUrl(given.REDIS_URL));
  }
  if (problems.length > 0) {
    throw new ConfigurationError('CONFIGURATION_INVALID', {
      message: `The configuration is not valid: ${problems.map(({ where, what }) => `${where} ${what.replace(/\.$/, '')}`).join('; ')}.`,
      details: { problems },
    });
  }
  const configuration = value as Configuration;
  return { ...configuration, DATA: resolve(configuration.DATA) };
}

/** The setting that a variable gives, by its name or by an earlier one; null where there is none. */
function settingOf(variable: string): keyof Configuration | null {
  const name = variable.slice(PREFIX.length);
  if (Object.hasOwn(EARLIER_NAMES, name)) return EARLIER_NAMES[name] ?? null;
  return Object.hasOwn(Configuration.properties, name) ? (name as keyof Configuration) : null;
}

function problemsOfUrl(url: string): Problem[] {
  try {
    parseRedisUrl(url);
    return [];
  } catch (error) {
    if (error instanceof ConfigurationError) return error.details?.problems as Problem[];
    throw error;
  }
}

/**
 * Reads one variable, for a process that reads no others.
 * @throws ConfigurationError `CONFIGURATION_INVALID` where its value is wrong.
 */
export function readVariable<N extends keyof Configuration>(
  environment: Readonly<Record<string, string | undefined>>,
  name: N,
): Configuration[N] {
  const variables = Object.keys(environment).filter((each) => each.startsWith(PREFIX) && settingOf(each) === name);
  return readConfiguration(Object.fromEntries(variables.map((each) => [each, environment[each]])))[name];
}

/** Exit code of a process whose configuration is not valid: starting it again would not help (sysexits.h, EX_CONFIG). */
export const EXIT_CONFIGURATION = 78;
