import { ERROR_TABLE } from '@pilum/core/errors/error-table.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import { Envelope } from '@pilum/core/schemas/task.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { principalOf } from '../guard/principal.ts';
import type { App } from '../http/app-type.ts';
import { invalid } from '../http/validation.ts';
import { type CallParts, callInTime } from '../tasks/call-in-time.ts';
import { readOptions } from '../tasks/invocation-options.ts';
import { passedHeaders } from '../tasks/passed-headers.ts';
import { ReferencePath, refusals, strictObject } from './answers.ts';
import { goneSignal } from './gone-signal.ts';

export interface InvokeRouteParts extends CallParts {
  readonly payloadLimitBytes: number;
}

const Query = strictObject({
  mode: Type.Optional(Type.String({ description: 'sync (the default) or async. Header: Pilum-Mode.' })),
  timeout: Type.Optional(
    Type.String({
      description: 'Run timeout of this task, for example 500ms or 20s; up to 24h. Header: Pilum-Timeout.',
    }),
  ),
  wait: Type.Optional(
    Type.String({ description: 'How long a sync caller waits before it is answered 202. Header: Pilum-Wait.' }),
  ),
  priority: Type.Optional(
    Type.String({ description: '0 (begun first) to 9; 5 where it is not said. Header: Pilum-Priority.' }),
  ),
  delay: Type.Optional(
    Type.String({ description: 'The task is not begun before, for example 30s; up to 7 days. Header: Pilum-Delay.' }),
  ),
  attempts: Type.Optional(
    Type.String({
      description:
        'How often it may be tried in all, 1 to 100; else as the version says (retry.attempts). Header: Pilum-Attempts.',
    }),
  ),
});

/** To be registered in a scope of its own: here, and only here, a body of any content type is taken as its bytes. */
export function invokeRoutes(app: App, parts: InvokeRouteParts): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

  app.post(
    '/v1/artifacts/:id/invoke',
    {
      bodyLimit: parts.payloadLimitBytes,
      schema: {
        tags: ['Calls'],
        summary: 'Call a function',
        description:
          'The body is the payload, of any content type. A sync call answers with the result, with the status of its ' +
          'error where it failed, or with 202 where its wait ends first; an async call answers 202 at once. ' +
          'Headers: Idempotency-Key, traceparent; accept, accept-language, user-agent and x-… go to the function.',
        params: ReferencePath,
        querystring: Query,
        response: { 200: Envelope, 202: Envelope, ...failures() },
      },
    },
    async (request, reply) => {
      const { headers } = request;
      const encoding = headers['content-encoding'];
      if (encoding !== undefined && encoding !== 'identity') {
        throw invalid([
          {
            where: '/headers/content-encoding',
            what: `${JSON.stringify(encoding)} is not supported; send the bytes as they are`,
          },
        ]);
      }
      const options = readOptions(request.query, headers);
      const { dispatched, text } = await callInTime(parts, principalOf(request), {
        reference: request.params.id,
        payload: request.body instanceof Buffer ? request.body : Buffer.alloc(0),
        contentType: headers['content-type'] ?? 'application/octet-stream',
        headers: passedHeaders(headers),
        traceparent: traceparentOf(request),
        idempotencyKey: idempotencyKeyOf(request),
        options,
        gone: goneSignal(reply),
      });
      const { ticket, outcome, isReplay } = dispatched;
      if (isReplay) reply.header('idempotent-replayed', 'true');
      if (outcome !== null) return sendEnvelope(reply, options.mode === 'async' ? 202 : statusOf(outcome), text);
      reply.header('location', `/v1/tasks/${ticket.taskId}`);
      return sendEnvelope(reply, 202, text);
    },
  );
}

/** A failed call has the envelope as well, with the error in it; a refused one has only the error. */
function failures() {
  const failed = Type.Union([Envelope, refusals['4xx']]);
  return { '4xx': failed, '5xx': failed };
}

export function sendEnvelope(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(text);
}

function statusOf({ error }: Outcome): number {
  return error === undefined ? 200 : ERROR_TABLE[error.code].status;
}

function idempotencyKeyOf({ headers }: FastifyRequest): string | null {
  const key = headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key === 'string' && /^[\x20-\x7e]{1,255}$/.test(key)) return key;
  throw invalid([{ where: '/headers/idempotency-key', what: 'must be 1 to 255 printable ASCII characters' }]);
}

/** As W3C Trace Context has it: one that is not well-formed is as good as none. */
function traceparentOf({ headers }: FastifyRequest): string | null {
  const value = headers.traceparent;
  return typeof value === 'string' && /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(value) ? value : null;
}
