import { Name, VersionNumber } from '@pilum/core/schemas/names.ts';
import { Envelope } from '@pilum/core/schemas/task.ts';
import { Type } from 'typebox';
import type { App } from '../http/app-type.ts';
import { NO_CHANGES, readChanges } from '../tasks/replay.ts';
import type { Retrier } from '../tasks/retrier.ts';
import type { TaskReader } from '../tasks/task-reader.ts';
import { disconnectSignal } from './disconnect-signal.ts';
import { NoQuery, refusals, strictObject, TaskPath } from './http-shapes.ts';
import { sendEnvelope } from './invoke.ts';

export interface RetryRouteDeps {
  readonly retrier: Retrier;
  readonly reader: TaskReader;
  readonly payloadLimitBytes: number;
}

/** The version that runs a retry. */
export const RetryVersion = Type.Union([VersionNumber, Name], {
  description:
    'The number of a version, or an alias for the version that it points at now; live is the version of the bare id. By default the ' +
    'version of the old task.',
});

const RetryBody = strictObject({
  version: Type.Optional(RetryVersion),
  payload: Type.Optional(
    Type.Unknown({
      description:
        'Replaces the old payload, as JSON; a string that replaces a text payload is sent as text. GET /v1/tasks/{taskId}/payload ' +
        'answers the old one.',
    }),
  ),
});

/** Size that a body may have besides its payload, bytes. */
const AROUND_PAYLOAD_BYTES = 4096;

/** Adds the route of retries. Needs a scope of its own, because it takes JSON as bytes to keep a payload exactly as it is. */
export function retryRoute(app: App, { retrier, reader, payloadLimitBytes }: RetryRouteDeps): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

  app.post(
    '/v1/tasks/:taskId/retry',
    {
      bodyLimit: payloadLimitBytes + AROUND_PAYLOAD_BYTES,
      config: {
        needs: 'tasks:write',
        takesBody: { content: { 'application/json': { schema: RetryBody } }, required: false },
      },
      schema: {
        tags: ['Tasks'],
        summary: 'Retry a task that failed',
        description:
          'Makes a new task with the payload and version of the old one, which keeps its outcome. The body may name another payload or ' +
          'version; a new version brings its own time-out and attempts, unless the old call had set them. Repeating a retry gives the ' +
          'same task. 409 for a task that is pending or completed.',
        params: TaskPath,
        querystring: NoQuery,
        response: { 202: Envelope, ...refusals },
      },
    },
    async (request, reply) => {
      const principal = request.principal;
      const changes = request.body instanceof Buffer ? readChanges(request.body) : NO_CHANGES;
      const { ticket, isReplay } = await retrier.retry(principal, request.params.taskId, changes);
      if (isReplay) reply.header('idempotent-replayed', 'true');
      reply.header('location', `/v1/tasks/${ticket.taskId}`);
      return sendEnvelope(reply, 202, await reader.read(principal, ticket.taskId, 0, disconnectSignal(reply)));
    },
  );
}
