import { TaskError } from '@pilum/core/errors/pilum-error.ts';

/** The part of a failed answer's body that is kept for whoever reads the error, UTF-16 units. */
export const EXCERPT = 2048;

/** Tells whether an answer to an invoke is a result: any other status is the function's failure, as it is for Cloud Tasks. */
export const isSuccess = (status: number): boolean => status >= 200 && status < 300;

/**
 * An invoke of a server, or of a `fetch` module, that was answered with a status that is no success.
 * @param body what it said, as text
 */
export function statusFailure(status: number, body: string): TaskError {
  return new TaskError('FUNCTION_FAILED', {
    message: `The function answered with status ${status}.`,
    details: { status, body: body.slice(0, EXCERPT) },
  });
}
