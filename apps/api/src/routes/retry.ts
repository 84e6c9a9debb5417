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

/** The version that a retry is run by. */
export const RetryVersion = Type.Union([VersionNumber, Name], {
  description:
    'The number of a version, or the name of an alias for the version that it has now; live: what the bare id means now. ' +
    'The version of the old task where it is not said.',
});

const RetryBody = strictObject({
  version: Type.Optional(RetryVersion),
  payload: Type.Optional(
    Type.Unknown({
      description:
        'Sent as JSON in place of the old payload; a string in place of a text payload is sent as text. GET ' +
        '/v1/tasks/{taskId}/payload answers the old one.',
    }),
  ),
});

/** Room for the rest of a body besides its payload, bytes. */
const AROUND_PAYLOAD_BYTES = 4096;

/** To be registered in a scope of its own: the body is taken as its bytes, so that a payload stays exactly as it is. */
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
          'Makes a new task with the payload and the version of the old one, which keeps its outcome; or with another payload or ' +
          'version, and then with the time-out and the attempts of that version, unless the old call had said others. Asking ' +
          'for the same again gives the same task. 409 for a task that is pending or completed.',
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
