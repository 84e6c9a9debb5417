/**
 * Every error that Pilum answers with, in one table. `docs/errors.md` is made from it.
 * `retryable`: whether the same request, or the same task, can succeed later without being changed.
 */
export const ERROR_CLASSES = [
  'ArtifactError',
  'TaskError',
  'InstanceError',
  'RuntimeError',
  'ConfigurationError',
  'RequestError',
  'SystemError',
] as const;

export type ErrorClassName = (typeof ERROR_CLASSES)[number];

export interface ErrorRow {
  readonly class: ErrorClassName;
  /** HTTP status that a call answers with. */
  readonly status: number;
  readonly retryable: boolean;
  readonly message: string;
  readonly hint?: string;
}

const row = <C extends ErrorClassName>(
  errorClass: C,
  status: number,
  retryable: boolean,
  message: string,
  hint?: string,
): ErrorRow & { readonly class: C } => ({
  class: errorClass,
  status,
  retryable,
  message,
  ...(hint === undefined ? {} : { hint }),
});

export const ERROR_TABLE = {
  ARTIFACT_NOT_FOUND: row(
    'ArtifactError',
    404,
    false,
    'There is no artifact of this id in this namespace.',
    'Create it with PUT /v1/artifacts/{id}, or list what there is with GET /v1/artifacts.',
  ),
  VERSION_NOT_FOUND: row('ArtifactError', 404, false, 'The artifact has no such version.'),
  ALIAS_NOT_FOUND: row('ArtifactError', 404, false, 'The artifact has no alias of this name.'),
  BLOB_NOT_FOUND: row(
    'ArtifactError',
    404,
    false,
    'No code of this digest was uploaded to this namespace.',
    'Upload it first with PUT /v1/blobs/sha256:<64 hex digits>.',
  ),
  RUNTIME_IS_FIXED: row(
    'ArtifactError',
    409,
    false,
    'The runtime of an artifact cannot be changed.',
    'Use another artifact id, or delete this artifact first.',
  ),
  CHECKSUM_MISMATCH: row('ArtifactError', 422, false, 'The bytes do not have the digest that they were named by.'),
  ARTIFACT_NOT_READY: row('ArtifactError', 409, false, 'The artifact has no version that can be run.'),
  VERSION_IN_USE: row('ArtifactError', 409, false, 'The version is what an alias points at.'),
  IMAGE_UNAVAILABLE: row(
    'ArtifactError',
    422,
    false,
    'The image of this version cannot be had.',
    'Look at code.image, and at what the machines of the workers may reach; then deploy again.',
  ),
  CODE_DOES_NOT_LOAD: row(
    'ArtifactError',
    422,
    false,
    'The version does not start: its code does not load, or its server does not listen.',
    'Mend the code and deploy it again; an earlier version that is ready goes on being called. With "check": false in the spec it is not started before its first call.',
  ),
  SECRET_NOT_FOUND: row(
    'ArtifactError',
    404,
    false,
    'There is no secret of this name in this namespace.',
    'Set it with PUT /v1/secrets/{name}, or list what there is with GET /v1/secrets.',
  ),
  SECRET_IN_USE: row(
    'ArtifactError',
    409,
    false,
    'The secret is used by an artifact.',
    'Deploy it without the secret under another id, or delete it; with ?force=true the secret goes all the same, and instances that need it no longer start.',
  ),
  STORE_FULL: row(
    'ArtifactError',
    507,
    true,
    'The store for code has reached its quota.',
    'Delete artifacts that are not needed, or raise PILUM_STORE_QUOTA_MIB.',
  ),

  TASK_NOT_FOUND: row(
    'TaskError',
    404,
    false,
    'There is no task of this id in this namespace.',
    'Finished tasks are kept for a limited time.',
  ),
  TASK_TIMEOUT: row('TaskError', 504, true, 'The task ran past its run timeout and was stopped.'),
  QUEUE_TIMEOUT: row(
    'TaskError',
    504,
    true,
    'The task waited in its queue past its queue timeout and was not run.',
    'POST /v1/tasks/{id}/retry runs it after all. Where others were ahead of it: let more run at once (maxConcurrency, more ' +
      'workers), or raise timeouts.queueMs in the artifact spec. Where nothing of the artifact runs: it is paused, or no worker ' +
      'has its runtime, or as much as its limits say (GET /v1/workers).',
  ),
  TASK_CANCELLED: row('TaskError', 409, false, 'The task was cancelled.'),
  TASK_FINISHED: row('TaskError', 409, false, 'The task has finished already.'),
  TASK_PENDING: row('TaskError', 409, true, 'The task has no result yet.'),
  IDEMPOTENCY_CONFLICT: row('TaskError', 409, false, 'This Idempotency-Key was used before with a different request.'),
  STREAM_TRUNCATED: row(
    'TaskError',
    410,
    false,
    'Frames that were asked for are no longer kept.',
    'Begin at the oldest that is left: Last-Event-ID is the number before it.',
  ),
  NO_LONGER_KEPT: row(
    'TaskError',
    410,
    false,
    'What was asked for of this task is no longer kept: the tasks of its artifact or namespace held more than they may.',
    'Read results soon after a task has ended. Operator: PILUM_KEPT_MIB and PILUM_NAMESPACE_KEPT_MIB say how much is kept.',
  ),
  QUEUE_FULL: row('TaskError', 429, true, 'The backlog of this artifact has reached its limit.'),
  FUNCTION_FAILED: row('TaskError', 502, true, 'The function failed.'),

  INSTANCE_START_FAILED: row('InstanceError', 502, true, 'No instance of this version could be started.'),
  INSTANCE_LOST: row('InstanceError', 502, true, 'The instance ended while it ran the task.'),
  INSTANCE_NOT_FOUND: row(
    'InstanceError',
    404,
    false,
    'There is no live instance of this id in this namespace.',
    'GET /v1/instances lists those there are.',
  ),
  OUT_OF_MEMORY: row(
    'InstanceError',
    502,
    false,
    'The function used more memory than its limit.',
    'Raise limits.memoryMiB in the artifact spec.',
  ),
  OUTPUT_TOO_LARGE: row(
    'InstanceError',
    502,
    false,
    'The result is larger than the limit for output.',
    'Raise limits.outputMiB in the artifact spec.',
  ),

  RUNTIME_UNAVAILABLE: row('RuntimeError', 503, true, 'The runtime cannot work on this machine at the moment.'),
  SANDBOX_UNAVAILABLE: row('RuntimeError', 503, true, 'The isolation that is required is missing on this machine.'),
  SECRETS_UNAVAILABLE: row(
    'RuntimeError',
    503,
    true,
    'Secrets cannot be encrypted or decrypted here.',
    'Operator: give API and workers the same keys with PILUM_SECRETS_KEY_FILE or PILUM_SECRETS_KEY; docs/secrets.md says how.',
  ),
  WORKER_NOT_FOUND: row(
    'RuntimeError',
    404,
    false,
    'There is no live worker of this id.',
    'GET /v1/workers lists those there are.',
  ),
  NO_WORKER: row('RuntimeError', 503, true, 'No live worker can run this artifact.', 'See GET /v1/workers.'),

  CONFIGURATION_INVALID: row('ConfigurationError', 500, false, 'The configuration is not valid.'),

  VALIDATION_FAILED: row('RequestError', 400, false, 'The request is not valid.'),
  UNKNOWN_EXECUTION_MODE: row('RequestError', 400, false, 'There is no such execution mode.'),
  STREAM_MODE_NOT_SUPPORTED: row('RequestError', 400, false, 'Streams have an endpoint of their own.'),
  PAYLOAD_TOO_LARGE: row('RequestError', 413, false, 'The request body is larger than the limit.'),
  REQUEST_TIMEOUT: row(
    'RequestError',
    408,
    true,
    'The request did not come in whole in time.',
    'Send its head and its body without long pauses; docs/configuration.md has the limits.',
  ),
  EXPECTATION_FAILED: row(
    'RequestError',
    417,
    false,
    'Pilum does not do what the Expect header asks for.',
    'Leave it out, or send Expect: 100-continue.',
  ),
  HEADERS_TOO_LARGE: row(
    'RequestError',
    431,
    false,
    'The target and the headers of a request may have 16 KiB together.',
    'Send what is large in the body.',
  ),
  METHOD_NOT_ALLOWED: row(
    'RequestError',
    405,
    false,
    'The endpoint does not have this method.',
    'The header Allow names those that it has.',
  ),
  NOT_IMPLEMENTED: row('RequestError', 501, false, 'This is agreed in the design and not built yet.'),
  UNAUTHORIZED: row(
    'RequestError',
    401,
    false,
    'This needs a valid API key.',
    'Send it as: Authorization: Bearer <key>.',
  ),
  FORBIDDEN: row('RequestError', 403, false, 'This is not allowed.'),
  ROUTE_NOT_FOUND: row('RequestError', 404, false, 'There is no such endpoint.', 'GET /docs lists all endpoints.'),

  TOO_MANY_STREAMS: row(
    'SystemError',
    503,
    true,
    'This process has as many streams open as it may.',
    'Close some, or ask another API process.',
  ),
  TOO_MANY_UNFINISHED: row(
    'SystemError',
    503,
    true,
    'This process holds as much of unfinished requests as it may.',
    'Repeat the request in a second. PILUM_UNFINISHED_MIB and PILUM_UNFINISHED_REQUESTS say how much that is.',
  ),
  REDIS_UNAVAILABLE: row(
    'SystemError',
    503,
    true,
    'Redis cannot be reached or did not answer in time.',
    'Repeat the request in a second. A call may have been accepted all the same: one that is sent with an ' +
      'Idempotency-Key, and repeated with it, makes one task.',
  ),
  RELEASE_TOO_OLD: row(
    'SystemError',
    503,
    true,
    'This process is of an older release than the one that wrote what it has read.',
    'Update the processes of the older release. In a rolling update, repeat the request: another process may know it.',
  ),
  INTERNAL: row('SystemError', 500, true, 'Something went wrong inside Pilum.'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERROR_TABLE;
