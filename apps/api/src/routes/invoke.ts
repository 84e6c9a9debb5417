import { ERROR_TABLE } from '@pilum/core/errors/error-table.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import { Envelope } from '@pilum/core/schemas/task.ts';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import type { App } from '../http/app-type.ts';
import { type CallDeps, callInTime } from '../tasks/call-in-time.ts';
import { appliedPreference, readOptions } from '../tasks/invocation-options.ts';
import { AnyBody, CommonOptions, callRequest } from './call-request.ts';
import { disconnectSignal } from './disconnect-signal.ts';
import { ReferencePath, refusals, strictObject } from './http-shapes.ts';

export interface InvokeRouteDeps extends CallDeps {
  readonly payloadLimitBytes: number;
}

const Query = strictObject({
  ...CommonOptions,
  mode: Type.Optional(Type.String({ description: 'sync (the default) or async. Header: Pilum-Mode.' })),
  wait: Type.Optional(
    Type.String({
      description:
        'How long a sync call waits before the answer is 202, up to 15m; not for mode=async. Header: Pilum-Wait.',
    }),
  ),
});

/** Adds the route of calls, to a scope that takes bodies as bytes ({@link takeAnyBody}). */
export function invokeRoutes(app: App, deps: InvokeRouteDeps): void {
  app.post(
    '/v1/artifacts/:id/invoke',
    {
      bodyLimit: deps.payloadLimitBytes,
      config: { needs: 'functions:call', takesBody: AnyBody, takesOptions: 'all' },
      schema: {
        tags: ['Calls'],
        summary: 'Call a function',
        description:
          'The body is the payload, of any content type. A sync call answers with the result, with the status of its error if the ' +
          'function fails, or with 202 if the wait ends first; an async call answers 202 at once. Headers: Idempotency-Key, ' +
          'traceparent, Prefer (respond-async, or wait=10 in seconds); accept, accept-language, user-agent and x-… go to the function.',
        params: ReferencePath,
        querystring: Query,
        response: { 200: Envelope, 202: Envelope, ...failures() },
      },
    },
    async (request, reply) => {
      const called = callRequest(request);
      const options = readOptions(request.query, request.headers);
      const applied = appliedPreference(request.headers.prefer, request.query, options);
      if (applied !== null) reply.header('preference-applied', applied);
      const { dispatched, text } = await callInTime(deps, request.principal, {
        ...called,
        options,
        gone: disconnectSignal(reply),
      });
      const { ticket, outcome, isReplay } = dispatched;
      if (isReplay) reply.header('idempotent-replayed', 'true');
      if (outcome !== null) return sendEnvelope(reply, options.mode === 'async' ? 202 : statusOf(outcome), text);
      reply.header('location', `/v1/tasks/${ticket.taskId}`);
      return sendEnvelope(reply, 202, text);
    },
  );
}

/** Schemas of failures: the envelope with the error for a failed call, the error alone for a refused one. */
function failures() {
  const failed = Type.Union([Envelope, refusals['4xx']]);
  return { '4xx': failed, '5xx': failed };
}

export function sendEnvelope(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(text);
}

/** Returns the HTTP status for an outcome. */
export function statusOf({ error }: Outcome): number {
  return error === undefined ? 200 : ERROR_TABLE[error.code].status;
}
