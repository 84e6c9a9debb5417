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

/** Options of every call of a function, as its query has them; each is a header as well. */
export const CommonOptions = {
  timeout: Type.Optional(
    Type.String({
      description: 'Run timeout of this task, for example 500ms or 20s; up to 24h. Header: Pilum-Timeout.',
    }),
  ),
  priority: Type.Optional(
    Type.String({ description: '0 (begun first) to 9; 5 where it is not said. Header: Pilum-Priority.' }),
  ),
  delay: Type.Optional(
    Type.String({ description: 'The task is not begun before, for example 30s; up to 30d. Header: Pilum-Delay.' }),
  ),
  attempts: Type.Optional(
    Type.String({
      description:
        'How often it may be tried in all, 1 to 100; else as the version says (retry.attempts). Header: Pilum-Attempts.',
    }),
  ),
};

/**
 * The payload of a call: bytes of any content type. The document names one, because clients that are made from it would have to
 * choose by the type of a value that may have any.
 */
export const AnyBody: TakenBody = {
  description:
    'The payload: JSON, or text or bytes of any other content type. Without one, or with the one that curl -d says by itself ' +
    '(application/x-www-form-urlencoded), a JSON object or array is taken for JSON.',
  content: { 'application/json': { schema: {} } },
  required: false,
};

/** What is sent to a function as a web endpoint. */
export const RequestBody: TakenBody = {
  description: 'Of any content type: it goes to the function as it is.',
  content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
  required: false,
};

/** From here on, and only in this scope, a body of any content type is taken as its bytes. */
export function takeAnyBody(app: App, unfinished: UnfinishedBodies): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', ({ routeOptions }: FastifyRequest, payload: IncomingMessage) =>
    unfinished.read(payload, routeOptions.bodyLimit),
  );
}

/**
 * What a request calls a function with.
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

/** As W3C Trace Context has it: one that is not well-formed is as good as none. */
export function traceparentOf({ headers }: FastifyRequest): string | null {
  const value = headers.traceparent;
  return typeof value === 'string' && /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(value) ? value : null;
}
