import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { App } from '../http/app-type.ts';
import { requireIdentity } from '../http/content-encoding.ts';
import type { TakenBody } from '../http/refuse-body.ts';
import type { UnfinishedBodies } from '../http/unfinished-bodies.ts';
import { invalid } from '../http/validation.ts';
import { contentTypeOf } from '../tasks/assumed-content-type.ts';
import { passedHeaders } from '../tasks/passed-headers.ts';

/** Query parameters of all calls; each is also a header. */
export const CommonOptions = {
  timeout: Type.Optional(
    Type.String({
      description: 'Run timeout of this task, for example 500ms or 20s; up to 24h. Header: Pilum-Timeout.',
    }),
  ),
  priority: Type.Optional(Type.String({ description: '0 (starts first) to 9; 5 by default. Header: Pilum-Priority.' })),
  delay: Type.Optional(
    Type.String({ description: 'Time before the task starts, for example 30s; up to 30d. Header: Pilum-Delay.' }),
  ),
  attempts: Type.Optional(
    Type.String({
      description: 'Most attempts in all, 1 to 100; by default retry.attempts of the version. Header: Pilum-Attempts.',
    }),
  ),
};

/**
 * The payload of a call: bytes of any content type. The document names only one type, because a generated client could not choose
 * between several.
 */
export const AnyBody: TakenBody = {
  description:
    'The payload: JSON, or text or bytes of any other content type. Without a content type, or with the default of curl -d ' +
    '(application/x-www-form-urlencoded), a JSON object or array is taken for JSON.',
  content: { 'application/json': { schema: {} } },
  required: false,
};

/** The body of a request to a function as a web endpoint. */
export const RequestBody: TakenBody = {
  description: 'A body of any content type, which goes to the function unchanged.',
  content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
  required: false,
};

/** Makes a scope take bodies of any content type as bytes. */
export function takeAnyBody(app: App, unfinished: UnfinishedBodies): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', ({ routeOptions }: FastifyRequest, payload: IncomingMessage) =>
    unfinished.read(payload, routeOptions.bodyLimit),
  );
}

/**
 * Reads from a request what its function is called with.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function callRequest(request: FastifyRequest<{ Params: { id: string } }>) {
  const { headers, body } = request;
  requireIdentity(headers);
  const payload = body instanceof Buffer ? body : Buffer.alloc(0);
  return {
    reference: request.params.id,
    payload,
    contentType: contentTypeOf(headers['content-type'], payload),
    headers: passedHeaders(headers),
    traceparent: traceparentOf(request),
    idempotencyKey: idempotencyKeyOf(request),
  };
}

function idempotencyKeyOf({ headers }: FastifyRequest): string | null {
  const key = headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key === 'string' && /^[\x20-\x7e]{1,255}$/.test(key)) return key;
  throw invalid([{ where: '/headers/idempotency-key', what: 'must be 1 to 255 printable ASCII characters' }]);
}

/** Returns the traceparent of a request; null for a malformed one, which W3C Trace Context says to ignore. */
export function traceparentOf({ headers }: FastifyRequest): string | null {
  const value = headers.traceparent;
  return typeof value === 'string' && /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(value) ? value : null;
}
