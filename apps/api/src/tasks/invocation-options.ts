import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { FIRST_PRIORITY, LAST_PRIORITY, TASK_MODES, type TaskMode, USUAL_PRIORITY } from '@pilum/core/schemas/task.ts';
import { notBuilt } from '../http/not-built-yet.ts';
import { invalid } from '../http/validation.ts';
import { DURATION_FORM, parseDuration } from './duration.ts';

/** How a task is to be run and waited for. */
export interface InvocationOptions {
  readonly mode: TaskMode;
  /** Run timeout, ms; null for the version's own. */
  readonly timeoutMs: number | null;
  /** How long a sync caller waits, ms; null for the usual time. */
  readonly waitMs: number | null;
  /** The task is not begun before, ms from now. */
  readonly delayMs: number;
  /** Null for as many as the version says. */
  readonly attempts: number | null;
  /** 0 is first, 9 last. */
  readonly priority: number;
}

type Headers = Readonly<Record<string, string | string[] | undefined>>;

const NAMES = ['mode', 'timeout', 'wait', 'delay', 'attempts', 'priority'] as const;
type OptionName = (typeof NAMES)[number];

const HEADER_PREFIX = 'pilum-';
/** Headers of ours that are no options. */
const OTHER_HEADERS: ReadonlySet<string> = new Set(['pilum-namespace']);

const MAX_TIMEOUT_MS = 24 * 3_600_000;
export const MAX_WAIT_MS = 900_000;
const MAX_DELAY_MS = 7 * 24 * 3_600_000;
const MAX_ATTEMPTS = 100;

/**
 * Reads the options of a call from its query (`?mode=async`) or its headers (`Pilum-Mode: async`).
 * @throws RequestError `UNKNOWN_EXECUTION_MODE`, `STREAM_MODE_NOT_SUPPORTED`, `NOT_IMPLEMENTED`, `VALIDATION_FAILED`
 * @param query checked for unknown names by its schema
 */
export function readOptions(query: Readonly<Record<string, string | undefined>>, headers: Headers): InvocationOptions {
  const given = { ...fromHeaders(headers) };
  for (const name of NAMES) {
    const value = query[name];
    if (value === undefined) continue;
    const other = given[name];
    if (other !== undefined && other.value !== value) {
      throw invalid([{ where: `/query/${name}`, what: `differs from the header ${other.header}; give it once` }]);
    }
    given[name] = { value, where: `/query/${name}`, header: '' };
  }
  const problems: Problem[] = [];
  const milliseconds = (name: OptionName, least: number, most: number): number | null => {
    const option = given[name];
    if (option === undefined) return null;
    const ms = parseDuration(option.value);
    if (ms === null) problems.push({ where: option.where, what: `must be ${DURATION_FORM}` });
    else if (ms < least || ms > most) {
      problems.push({ where: option.where, what: `must be from ${least} ms to ${most / 1000} s` });
    }
    return ms;
  };
  const wholeNumber = (name: OptionName, least: number, most: number): number | null => {
    const option = given[name];
    if (option === undefined) return null;
    const value = /^\d{1,9}$/.test(option.value) ? Number(option.value) : Number.NaN;
    if (value >= least && value <= most) return value;
    problems.push({ where: option.where, what: `must be a whole number from ${least} to ${most}` });
    return null;
  };
  const options = {
    mode: modeOf(given.mode?.value),
    timeoutMs: milliseconds('timeout', 1, MAX_TIMEOUT_MS),
    waitMs: milliseconds('wait', 0, MAX_WAIT_MS),
    delayMs: milliseconds('delay', 0, MAX_DELAY_MS) ?? 0,
    attempts: wholeNumber('attempts', 1, MAX_ATTEMPTS),
    priority: wholeNumber('priority', FIRST_PRIORITY, LAST_PRIORITY) ?? USUAL_PRIORITY,
  };
  if (problems.length > 0) throw invalid(problems);
  return options;
}

function modeOf(mode: string | undefined): TaskMode {
  if (mode === undefined) return 'sync';
  const known = TASK_MODES.find((candidate) => candidate === mode);
  if (known !== undefined) return known;
  if (mode === 'stream') {
    throw new RequestError('STREAM_MODE_NOT_SUPPORTED', {
      message: 'An invoke does not stream; POST /v1/artifacts/{id}/stream does.',
      hint: 'Use POST /v1/artifacts/{id}/stream.',
    });
  }
  throw new RequestError('UNKNOWN_EXECUTION_MODE', {
    message: `There is no execution mode ${JSON.stringify(mode)}; there are ${TASK_MODES.join(', ')}.`,
    details: { mode, modes: TASK_MODES },
  });
}

type Given = Partial<Record<OptionName, { value: string; where: string; header: string }>>;

function fromHeaders(headers: Headers): Given {
  const given: Given = {};
  if (headers['x-callback-url'] !== undefined) {
    throw notBuilt('/headers/x-callback-url', 'ask for the outcome at the status endpoint');
  }
  for (const header in headers) {
    if (!header.startsWith(HEADER_PREFIX) || OTHER_HEADERS.has(header)) continue;
    const where = `/headers/${header}`;
    const option = header.slice(HEADER_PREFIX.length);
    const name = NAMES.find((candidate) => candidate === option);
    if (name === undefined) {
      throw invalid([
        { where, what: `is not an option; there are ${NAMES.map((known) => `Pilum-${known}`).join(', ')}` },
      ]);
    }
    given[name] = { value: String(headers[header]), where, header };
  }
  return given;
}
