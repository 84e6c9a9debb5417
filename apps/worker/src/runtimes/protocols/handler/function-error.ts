import type { ErrorCode } from '@pilum/core/errors/error-table.ts';
import type { ErrorData } from '@pilum/core/errors/pilum-error.ts';
import { PilumError } from '@pilum/core/errors/pilum-error.ts';
import { statusFailure } from '../http/status-failure.ts';

/** The error codes that a bootstrap may give a call. Any other code is the function's failure. */
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
    const causes = causesIn(fields.causes);
    const errorCode = textOf(fields.errorCode);
    const details = {
      type,
      message,
      ...(errorCode === '' ? {} : { errorCode }),
      ...(stack === '' ? {} : { stack }),
      ...(causes.length === 0 ? {} : { causes }),
    };
    return new PilumError(code, {
      message: [{ type, message }, ...causes].map(said).join(', caused by ').slice(0, MAX_TEXT),
      details,
    }).toData();
  }
  return new PilumError(code, message === '' ? {} : { message }).toData();
}

/** An error behind an error. */
interface Cause {
  readonly type: string;
  readonly message: string;
  /** The system's name of the error, such as `ECONNREFUSED`. */
  readonly code?: string;
}

/** The most of them that are kept, and of each of their texts. */
const MAX_CAUSES = 20;
const MAX_CAUSE_TEXT = 4096;

function causesIn(given: unknown): Cause[] {
  if (!Array.isArray(given)) return [];
  return given.slice(0, MAX_CAUSES).map((each: Record<string, unknown> | null) => {
    const [type, message, code] = [each?.type, each?.message, each?.code].map((text) =>
      textOf(text).slice(0, MAX_CAUSE_TEXT),
    );
    return { type: type ?? '', message: message ?? '', ...(code === '' || code === undefined ? {} : { code }) };
  });
}

/** An error in one line: its type, what it says, and its code where it says neither. */
function said({ type, message, code = '' }: Cause): string {
  const text = message === '' ? code : message;
  return text === '' ? type : `${type}: ${text}`;
}
