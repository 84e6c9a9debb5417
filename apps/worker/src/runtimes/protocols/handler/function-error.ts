import type { ErrorCode } from '@pilum/core/errors/error-table.ts';
import type { ErrorData } from '@pilum/core/errors/pilum-error.ts';
import { PilumError } from '@pilum/core/errors/pilum-error.ts';
import { statusFailure } from '../http/status-failure.ts';

/** What a bootstrap may say of a call. Any other code is the function's failure. */
const CODES: readonly ErrorCode[] = [
  'FUNCTION_FAILED',
  'VALIDATION_FAILED',
  'NOT_IMPLEMENTED',
  'OUT_OF_MEMORY',
  'OUTPUT_TOO_LARGE',
  'INSTANCE_START_FAILED',
];
const MAX_TEXT = 32 * 1024;

const textOf = (value: unknown) => (typeof value === 'string' ? value.slice(0, MAX_TEXT).toWellFormed() : '');
const isStatus = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 200 && value <= 599;

/** The fields of an ERROR frame, which are not to be trusted, as the error that the task gets. */
export function functionError(fields: Record<string, unknown>): ErrorData {
  const code = CODES.find((known) => known === fields.code) ?? 'FUNCTION_FAILED';
  const type = textOf(fields.type);
  const message = textOf(fields.message);
  const stack = textOf(fields.stack);
  if (isStatus(fields.status)) return statusFailure(fields.status, textOf(fields.body)).toData();
  if (code === 'FUNCTION_FAILED' || code === 'INSTANCE_START_FAILED') {
    const text = message === '' ? type : `${type}: ${message}`;
    return new PilumError(code, {
      message: text,
      details: { type, message, ...(stack === '' ? {} : { stack }) },
    }).toData();
  }
  return new PilumError(code, message === '' ? {} : { message }).toData();
}
