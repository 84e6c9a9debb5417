import { type PilumError, RequestError, toPilumError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { redisFailure } from '@pilum/core/redis/redis-failure.ts';
import type { ErrorBody } from '@pilum/core/schemas/task.ts';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { Static } from 'typebox';
import { discardRest } from './discard-rest.ts';
import { invalid } from './validation.ts';

/** Answers a failure with its line of the error table. Unforeseen failures alone are logged, with their stack. */
export function answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = errorOf(thrown, request);
  if (error.code === 'INTERNAL') {
    logEvent(request.log, 'request-failed', {
      err: error.cause ?? error,
      method: request.method,
      url: pathOf(request),
    });
  }
  if (error.code === 'REDIS_UNAVAILABLE' && error.cause !== undefined) logRefusal(error, request);
  if (error.code === 'UNAUTHORIZED') {
    // A browser asks its user for the key only where Basic is offered.
    reply.header('www-authenticate', 'Bearer realm="Pilum", Basic realm="Pilum", charset="UTF-8"');
  }
  // Redis may be back at any moment.
  const retryAfterS = error.code === 'REDIS_UNAVAILABLE' ? 1 : error.details?.retryAfterS;
  if (typeof retryAfterS === 'number') reply.header('retry-after', retryAfterS);
  if (request.raw.complete === false) {
    reply.removeHeader('connection'); // Fastify would close it under a client that is still sending
    discardRest(request.raw);
  }
  void reply
    .code(error.status)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ error: bodyOf(error) }));
}

/** Least time between two log lines about the same refusal by Redis, ms; a thousand callers may meet it at once. */
const REFUSAL_INTERVAL_MS = 5000;
let refusalLoggedAt = Number.NEGATIVE_INFINITY;
let refusalLogged = '';

/** Logs Redis's own message; the caller reads ours. */
function logRefusal({ message, cause }: PilumError, request: FastifyRequest): void {
  const now = performance.now();
  if (message === refusalLogged && now - refusalLoggedAt < REFUSAL_INTERVAL_MS) return;
  refusalLoggedAt = now;
  refusalLogged = message;
  logEvent(request.log, 'calls-refused', { err: cause }, `calls are answered 503: ${message}`);
}

/** Returns an error as the `error` of a body. The id of a task that the error is about stands beside its details. */
export function bodyOf(error: PilumError): Static<typeof ErrorBody> {
  // Internals belong in the log; a caller could be a stranger.
  if (error.code === 'INTERNAL') return { code: error.code, message: toPilumError(null).message };
  const { details, ...rest } = error.toData();
  const { taskId, ...others } = details ?? {};
  return {
    ...rest,
    ...(Object.keys(others).length === 0 ? {} : { details: others }),
    ...(typeof taskId === 'string' ? { taskId } : {}),
  };
}

function errorOf(thrown: unknown, request: FastifyRequest): PilumError {
  const code = thrown instanceof Error ? (thrown as Partial<FastifyError>).code : undefined;
  if (typeof code === 'string' && code.startsWith('FST_ERR_')) {
    const known = ofFastify(thrown as FastifyError, request);
    if (known !== null) return known;
  }
  return toPilumError(redisFailure(thrown));
}

/** Translates one of Fastify's refusals into the error table; null for an error that no client can cause. */
function ofFastify(error: FastifyError, request: FastifyRequest): PilumError | null {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return tooLarge(request);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return invalid([
        {
          where: '/headers/content-type',
          what: `${JSON.stringify(request.headers['content-type'] ?? '')} is not a media type that is taken here; JSON is application/json`,
        },
      ]);
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return invalid([{ where: '/headers/content-length', what: 'is not the size of the body' }]);
    case 'FST_ERR_CTP_EMPTY_TYPE':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return invalid([{ where: '/body', what: 'is missing' }]);
    case 'FST_ERR_BAD_URL':
      return invalid([{ where: '/path', what: 'is not a well-formed URL path' }]);
    default:
      if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500) {
        return invalid([{ where: '/', what: error.message }]);
      }
      return null;
  }
}

function tooLarge({ routeOptions }: FastifyRequest): RequestError {
  const { bodyLimit: limitBytes, config, url } = routeOptions;
  const hint =
    config.takesBody !== undefined
      ? 'The operator raises it with PILUM_PAYLOAD_LIMIT_MIB of the API, 256 at most. What is larger is better kept elsewhere, and its place sent.'
      : url === '/v1/artifacts/:id'
        ? 'Upload large code with PUT /v1/blobs/sha256:<64 hex digits>, and name it as code.digest.'
        : undefined;
  return new RequestError('PAYLOAD_TOO_LARGE', {
    message: `The request body is larger than the limit of ${mebibytes(limitBytes)} MiB.`,
    ...(hint === undefined ? {} : { hint }),
    details: { limitBytes },
  });
}

const mebibytes = (bytes: number) => Number((bytes / 1_048_576).toFixed(3));

const pathOf = (request: FastifyRequest) => request.url.split('?', 1)[0];
