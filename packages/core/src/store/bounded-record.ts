import type { FailedAttempt, Outcome } from '../schemas/task.ts';

/** Characters that the record of a task may hold beside its result. Runtimes cut what functions say well below it. */
const MOST_RECORD = 64 * 1024;
/** Characters that are left of a message that is too long. */
const MOST_MESSAGE = 8 * 1024;

type RecordedError = NonNullable<Outcome['error']>;

/**
 * An outcome whose error and progress are small enough to be kept for every task: a record stays when results go, so that a function which
 * makes it large would fill Redis. The result is as it was.
 */
export function boundedOutcome(outcome: Outcome): Outcome {
  const { result, ...record } = outcome;
  if (JSON.stringify(record).length <= MOST_RECORD) return outcome;
  const { progress: _progress, error, ...rest } = record;
  return {
    ...rest,
    ...(error === undefined ? {} : { error: cutError(error) }),
    ...(result === undefined ? {} : { result }),
  };
}

/** The same for an attempt that was followed by another. */
export function boundedAttempt(attempt: FailedAttempt): FailedAttempt {
  if (JSON.stringify(attempt).length <= MOST_RECORD) return attempt;
  return { ...attempt, error: cutError(attempt.error) };
}

function cutError({ code, message, hint, details }: RecordedError): RecordedError {
  const isShort = JSON.stringify(details ?? {}).length <= MOST_RECORD / 2;
  return {
    code,
    message: message.length <= MOST_MESSAGE ? message : `${message.slice(0, MOST_MESSAGE)}… [cut]`,
    ...(hint === undefined ? {} : { hint: hint.slice(0, MOST_MESSAGE) }),
    ...(details === undefined ? {} : { details: isShort ? details : { cut: 'too large' } }),
  };
}
