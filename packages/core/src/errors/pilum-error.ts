import { ERROR_TABLE, type ErrorClassName, type ErrorCode, type ErrorRow } from './error-table.ts';

/** An error as data: what crosses Redis, what is stored in an outcome, and what the HTTP body's `error` holds. */
export interface ErrorData {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly details?: Record<string, unknown>;
}

export interface ErrorOptions {
  /** Replaces the table's message. */
  readonly message?: string;
  /** Replaces the table's hint. */
  readonly hint?: string;
  readonly details?: Record<string, unknown>;
  readonly cause?: unknown;
}

/** Base of every error that Pilum throws on purpose. Its code is a line of {@link ERROR_TABLE}. */
export class PilumError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    const row: ErrorRow = ERROR_TABLE[code];
    super(options.message ?? row.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = row.class;
    this.code = code;
    this.hint = options.hint ?? row.hint;
    this.details = options.details;
  }

  /** HTTP status of the answer. */
  get status(): number {
    return ERROR_TABLE[this.code].status;
  }

  get retryable(): boolean {
    return ERROR_TABLE[this.code].retryable;
  }

  /** The error as plain data; {@link errorFromData} turns it back into the same class. */
  toData(): ErrorData {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.details === undefined ? {} : { details: this.details }),
    };
  }
}

/** The codes of one class, so that `new TaskError('ARTIFACT_NOT_FOUND')` does not compile. */
type CodeOf<C extends ErrorClassName> = {
  [K in ErrorCode]: (typeof ERROR_TABLE)[K]['class'] extends C ? K : never;
}[ErrorCode];

export class ArtifactError extends PilumError {
  constructor(code: CodeOf<'ArtifactError'>, options?: ErrorOptions) {
    super(code, options);
  }
}

export class TaskError extends PilumError {
  constructor(code: CodeOf<'TaskError'>, options?: ErrorOptions) {
    super(code, options);
  }
}

export class InstanceError extends PilumError {
  constructor(code: CodeOf<'InstanceError'>, options?: ErrorOptions) {
    super(code, options);
  }
}

export class RuntimeError extends PilumError {
  constructor(code: CodeOf<'RuntimeError'>, options?: ErrorOptions) {
    super(code, options);
  }
}

export class ConfigurationError extends PilumError {
  constructor(code: CodeOf<'ConfigurationError'>, options?: ErrorOptions) {
    super(code, options);
  }
}

export class RequestError extends PilumError {
  constructor(code: CodeOf<'RequestError'>, options?: ErrorOptions) {
    super(code, options);
  }
}

export class SystemError extends PilumError {
  constructor(code: CodeOf<'SystemError'>, options?: ErrorOptions) {
    super(code, options);
  }
}

const CONSTRUCTORS = {
  ArtifactError,
  TaskError,
  InstanceError,
  RuntimeError,
  ConfigurationError,
  RequestError,
  SystemError,
} as const;

/**
 * Turns error data (from Redis or from an HTTP body) back into an error of its class. Data with a code that
 * this release does not know becomes a SystemError `INTERNAL` that keeps the message.
 */
export function errorFromData(data: { code: string; message: string; hint?: string; details?: unknown }): PilumError {
  const options: ErrorOptions = {
    message: data.message,
    ...(data.hint === undefined ? {} : { hint: data.hint }),
    ...(typeof data.details === 'object' && data.details !== null
      ? { details: data.details as Record<string, unknown> }
      : {}),
  };
  if (!Object.hasOwn(ERROR_TABLE, data.code)) {
    return new SystemError('INTERNAL', { ...options, details: { ...options.details, unknownCode: data.code } });
  }
  const code = data.code as ErrorCode;
  const Constructor = CONSTRUCTORS[ERROR_TABLE[code].class] as unknown as new (
    code: ErrorCode,
    options?: ErrorOptions,
  ) => PilumError;
  return new Constructor(code, options);
}

/** Any thrown value as a PilumError: itself where it is one, else `INTERNAL` with the original as cause. */
export function toPilumError(thrown: unknown): PilumError {
  if (thrown instanceof PilumError) return thrown;
  return new SystemError('INTERNAL', { cause: thrown });
}
