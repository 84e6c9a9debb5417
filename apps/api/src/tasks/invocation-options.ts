import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { FIRST_PRIORITY, LAST_PRIORITY, type TaskMode, USUAL_PRIORITY } from '@pilum/core/schemas/task.ts';
import { notBuilt } from '../http/not-built-yet.ts';
import { invalid } from '../http/validation.ts';
import { DURATION_FORM, durationText, parseDuration } from './duration.ts';

/** Options of a call: how its task runs, and how the caller waits. */
export interface InvocationOptions {
  readonly mode: TaskMode;
  /** Run timeout, ms; null for the one of the version. */
  readonly timeoutMs: number | null;
  /** Wait of a sync caller, ms; null for the default. */
  readonly waitMs: number | null;
  /** Time from now before which the task does not start, ms. */
  readonly delayMs: number;
  /** Attempts in all; null for those of the version. */
  readonly attempts: number | null;
  /** Priority from 0, the first, to 9, the last. */
  readonly priority: number;
  /** Options of a streamed task; null for any other. */
  readonly stream: StreamOptions | null;
}

export interface StreamOptions {
  /** Whether the reader receives the log as well. */
  readonly logs: boolean;
  /** Whether the task goes on without a reader. */
  readonly detach: boolean;
  /** Whether the task may run again after it has sent a chunk. */
  readonly restart: boolean;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

const INVOKE_MODES = ['sync', 'async'] as const;

const COMMON_OPTIONS = ['timeout', 'delay', 'attempts', 'priority'] as const;
const INVOKE_OPTIONS = ['mode', 'wait', ...COMMON_OPTIONS] as const;
const ENDPOINT_OPTIONS = ['timeout', 'attempts', 'priority'] as const;
const STREAM_OPTIONS = ['logs', 'detach', 'restart', ...COMMON_OPTIONS] as const;
type OptionName = (typeof INVOKE_OPTIONS)[number] | (typeof STREAM_OPTIONS)[number];

const HEADER_PREFIX = 'pilum-';
/** Headers with the same prefix that are not options. */
const OTHER_HEADERS: ReadonlySet<string> = new Set(['pilum-namespace']);

const MAX_TIMEOUT_MS = 24 * 3_600_000;
export const MAX_WAIT_MS = 900_000;
const MAX_DELAY_MS = 30 * 24 * 3_600_000;
const MAX_ATTEMPTS = 100;

type Query = Readonly<Record<string, string | undefined>>;

/**
 * Reads the options of a call from its query (`?mode=async`) or its headers (`Pilum-Mode: async`).
 * @throws RequestError `UNKNOWN_EXECUTION_MODE`, `STREAM_MODE_NOT_SUPPORTED`, `NOT_IMPLEMENTED`, `VALIDATION_FAILED`
 * @param query the query; its schema has refused unknown names
 */
export function readOptions(query: Query, headers: Headers): InvocationOptions {
  refuseOptionsOfLambda(headers);
  const options = new Options(INVOKE_OPTIONS, query, headers);
  const preferred = headers.prefer === undefined ? NOTHING_PREFERRED : preferencesIn(headers.prefer);
  const mode = modeOf(options.text('mode') ?? (preferred.isAsync ? 'async' : undefined));
  const waitMs = options.milliseconds('wait', 0, MAX_WAIT_MS);
  if (mode === 'async')
    options.refuse('wait', 'is for sync calls; wait for an async one with GET /v1/tasks/{taskId}?wait=20s');
  const waits = mode === 'async' ? null : (waitMs ?? preferred.waitMs);
  return { mode, waitMs: waits, ...commonOf(options), stream: null };
}

/** The most bytes of a Prefer header that are read. */
const MOST_PREFER = 1024;

interface Preferences {
  readonly isAsync: boolean;
  readonly waitMs: number | null;
}

const NOTHING_PREFERRED: Preferences = { isAsync: false, waitMs: null };

/**
 * Reads what a caller prefers (RFC 7240): `respond-async`, and `wait=10` in seconds. An option that says the same goes before it, and a
 * preference that is not known here is no fault.
 */
function preferencesIn(header: string | string[]): Preferences {
  const preferences = String(header)
    .slice(0, MOST_PREFER)
    .split(',')
    .map((preference) => preference.split(';', 1)[0]?.trim().toLowerCase() ?? '');
  const seconds = preferences.map((preference) => /^wait\s*=\s*"?(\d{1,6})"?$/.exec(preference)?.[1]).find(Boolean);
  const waitMs = seconds === undefined ? null : Math.min(Number(seconds) * 1000, MAX_WAIT_MS);
  return { isAsync: preferences.includes('respond-async') && waitMs === null, waitMs };
}

/** Says which preference of a caller an invoke goes by, for the header Preference-Applied; null for none. */
export function appliedPreference(
  header: string | string[] | undefined,
  { mode, wait }: Query,
  options: Pick<InvocationOptions, 'mode' | 'waitMs'>,
): string | null {
  if (header === undefined) return null;
  const { isAsync, waitMs } = preferencesIn(header);
  if (isAsync && mode === undefined && options.mode === 'async') return 'respond-async';
  if (waitMs !== null && wait === undefined && options.waitMs === waitMs) return `wait=${waitMs / 1000}`;
  return null;
}

/** Headers that ask something of an invoke of AWS Lambda, each with the value that asks for nothing and how the rest is asked for here. */
const OF_LAMBDA = [
  {
    name: 'x-amz-invocation-type',
    usual: 'requestresponse',
    instead: 'call with ?mode=async for Event; what does not load is known when it is deployed, without DryRun',
  },
  { name: 'x-amz-log-type', usual: 'none', instead: 'the log is at GET /v1/tasks/{taskId}/logs' },
] as const;

/** @throws RequestError `VALIDATION_FAILED` for what would have no effect */
function refuseOptionsOfLambda(headers: Headers): void {
  for (const { name, usual, instead } of OF_LAMBDA) {
    const value = headers[name];
    if (value === undefined || String(value).toLowerCase() === usual) continue;
    throw invalid([{ where: `/headers/${name}`, what: `is an option of AWS Lambda, and none here: ${instead}` }]);
  }
}

/**
 * Reads the options of a streamed call, from the same places as {@link readOptions}.
 * @throws RequestError `NOT_IMPLEMENTED`, `VALIDATION_FAILED`
 */
export function readStreamOptions(
  query: Query,
  headers: Headers,
): InvocationOptions & { readonly stream: StreamOptions } {
  const options = new Options(STREAM_OPTIONS, query, headers);
  const stream = { logs: options.flag('logs'), detach: options.flag('detach'), restart: options.flag('restart') };
  return { mode: 'stream', waitMs: null, ...commonOf(options), stream };
}

/**
 * Reads the options of a call as a web endpoint from its headers; the query belongs to the function. There is one attempt by
 * default, because a request may have effects that must not happen twice.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function readEndpointOptions(headers: Headers): InvocationOptions {
  const options = new Options(ENDPOINT_OPTIONS, {}, headers);
  const common = commonOf(options);
  const stream = { logs: false, detach: false, restart: false };
  return { mode: 'stream', waitMs: null, ...common, attempts: common.attempts ?? 1, stream };
}

/** Reads the options that all kinds of calls have, and throws the problems of all options read so far. */
function commonOf(options: Options) {
  const common = {
    timeoutMs: options.milliseconds('timeout', 1, MAX_TIMEOUT_MS),
    delayMs: options.milliseconds('delay', 0, MAX_DELAY_MS) ?? 0,
    attempts: options.wholeNumber('attempts', 1, MAX_ATTEMPTS),
    priority: options.wholeNumber('priority', FIRST_PRIORITY, LAST_PRIORITY) ?? USUAL_PRIORITY,
  };
  options.throwProblems();
  return common;
}

/** Reads options from query and headers, and collects their problems. */
class Options {
  readonly #given: Given;
  readonly #problems: Problem[] = [];

  constructor(names: readonly OptionName[], query: Query, headers: Headers) {
    this.#given = fromHeaders(headers, names);
    for (const name of names) {
      const value = query[name];
      if (value === undefined) continue;
      const other = this.#given[name];
      if (other !== undefined && other.value !== value) {
        throw invalid([{ where: `/query/${name}`, what: `differs from the header ${other.header}; give it once` }]);
      }
      this.#given[name] = { value, where: `/query/${name}`, header: '' };
    }
  }

  throwProblems(): void {
    if (this.#problems.length > 0) throw invalid(this.#problems);
  }

  text(name: OptionName): string | undefined {
    return this.#given[name]?.value;
  }

  /** Adds a problem if an option is given that would have no effect. */
  refuse(name: OptionName, what: string): void {
    const option = this.#given[name];
    if (option !== undefined) this.#problems.push({ where: option.where, what });
  }

  flag(name: OptionName): boolean {
    const option = this.#given[name];
    if (option === undefined || option.value === 'false') return false;
    if (option.value !== 'true') this.#problems.push({ where: option.where, what: 'must be true or false' });
    return true;
  }

  milliseconds(name: OptionName, least: number, most: number): number | null {
    const option = this.#given[name];
    if (option === undefined) return null;
    const { where } = option;
    const ms = parseDuration(option.value);
    if (ms === null) this.#problems.push({ where, what: `must be ${DURATION_FORM}` });
    else if (ms < least || ms > most) {
      this.#problems.push({ where, what: `must be from ${least} ms to ${durationText(most)}` });
    }
    return ms;
  }

  wholeNumber(name: OptionName, least: number, most: number): number | null {
    const option = this.#given[name];
    if (option === undefined) return null;
    const value = /^\d{1,9}$/.test(option.value) ? Number(option.value) : Number.NaN;
    if (value >= least && value <= most) return value;
    this.#problems.push({ where: option.where, what: `must be a whole number from ${least} to ${most}` });
    return null;
  }
}

function modeOf(mode: string | undefined): TaskMode {
  if (mode === undefined) return 'sync';
  const known = INVOKE_MODES.find((candidate) => candidate === mode);
  if (known !== undefined) return known;
  if (mode === 'stream') {
    throw new RequestError('STREAM_MODE_NOT_SUPPORTED', {
      message: 'An invoke cannot stream; POST /v1/artifacts/{id}/stream does.',
      hint: 'Use POST /v1/artifacts/{id}/stream.',
    });
  }
  throw new RequestError('UNKNOWN_EXECUTION_MODE', {
    message: `There is no execution mode ${JSON.stringify(mode)}; there are ${INVOKE_MODES.join(', ')}.`,
    details: { mode, modes: INVOKE_MODES },
  });
}

type Given = Partial<Record<OptionName, { value: string; where: string; header: string }>>;

function fromHeaders(headers: Headers, names: readonly OptionName[]): Given {
  const given: Given = {};
  if (headers['x-callback-url'] !== undefined) {
    throw notBuilt('/headers/x-callback-url', 'ask for the outcome at the status endpoint');
  }
  for (const header in headers) {
    if (!header.startsWith(HEADER_PREFIX) || OTHER_HEADERS.has(header)) continue;
    const where = `/headers/${header}`;
    const option = header.slice(HEADER_PREFIX.length);
    const name = names.find((candidate) => candidate === option);
    if (name === undefined) {
      throw invalid([
        { where, what: `is not an option; there are ${names.map((known) => `Pilum-${known}`).join(', ')}` },
      ]);
    }
    given[name] = { value: String(headers[header]), where, header };
  }
  return given;
}
