import { ERROR_TABLE } from '../errors/error-table.ts';
import { errorFromData, SystemError } from '../errors/pilum-error.ts';
import { readRecord, recordProblems } from '../schemas/check.ts';
import { FailedAttempt, Outcome, TASK_MODES } from '../schemas/task.ts';
import { UnknownRecord } from './unknown-record.ts';

/**
 * Reads an outcome as it stands in Redis or comes over a reply channel. An error of a newer release is `INTERNAL` with its message
 * and its code in the details. Where the outcome says something else that this release does not know, the task has failed as far
 * as this process can tell, with `RELEASE_TOO_OLD`; fields that it has stay.
 * @throws SystemError `INTERNAL` where it is not one.
 */
export function parseOutcome(text: string): Outcome {
  const value: unknown = JSON.parse(text);
  const outcome = readRecord(Outcome, value) ?? readUnknown(value);
  if (outcome !== null) return outcome;
  throw new SystemError('INTERNAL', { message: 'Redis holds an outcome that this release cannot read.' });
}

/**
 * Reads an attempt as it stands in Redis, its error as that of an outcome.
 * @throws SystemError `INTERNAL` where it is not one.
 */
export function parseAttempt(text: string): FailedAttempt {
  const value: unknown = JSON.parse(text);
  const attempt = readRecord(FailedAttempt, value) ?? readRecord(FailedAttempt, withKnownError(value));
  if (attempt !== null) return attempt;
  throw new SystemError('INTERNAL', { message: 'Redis holds an attempt that this release cannot read.' });
}

function readUnknown(value: unknown): Outcome | null {
  const known = withKnownError(value);
  if (!isObject(known)) return null;
  // Nobody waits for an async task: whatever the mode meant, that is over.
  const settled: Record<string, unknown> = {
    ...known,
    mode: TASK_MODES.some((mode) => mode === known.mode) ? known.mode : 'async',
  };
  const read = readRecord(Outcome, settled);
  if (read !== null) return read;
  const { result: _unknown, error: _other, ...rest } = settled;
  const unknown = new UnknownRecord(`The outcome of task ${String(rest.taskId)}`, recordProblems(Outcome, settled));
  return readRecord(Outcome, { ...rest, status: 'failed', error: unknown.error().toData() });
}

/** The same record where its error is one of this release. */
function withKnownError(value: unknown): unknown {
  if (!isObject(value) || !isObject(value.error)) return value;
  const { code, message } = value.error;
  if (typeof code !== 'string' || typeof message !== 'string' || Object.hasOwn(ERROR_TABLE, code)) return value;
  const error = errorFromData({ ...value.error, code, message });
  return { ...value, error: error.toData() };
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
