import { ERROR_TABLE, type ErrorCode } from '@pilum/core/errors/error-table.ts';
import { PilumError } from '@pilum/core/errors/pilum-error.ts';
import { ulidOf } from '@pilum/core/redis/keys.ts';
import { firstUlidAt } from '@pilum/core/redis/task-id.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import { Name, TaskId } from '@pilum/core/schemas/names.ts';
import { Envelope, ErrorBody } from '@pilum/core/schemas/task.ts';
import { TASK_STATUSES } from '@pilum/core/states/states.ts';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { bodyOf } from '../http/answer-error.ts';
import { answerInTime } from '../http/answer-limit.ts';
import type { App } from '../http/app-type.ts';
import { invalid } from '../http/validation.ts';
import type { Canceller } from '../tasks/canceller.ts';
import { DURATION_FORM, durationText, parseDuration } from '../tasks/duration.ts';
import { settledText } from '../tasks/envelope.ts';
import { MAX_WAIT_MS } from '../tasks/invocation-options.ts';
import { logLines, logText } from '../tasks/log-lines.ts';
import { pageText } from '../tasks/page-text.ts';
import type { Retrier } from '../tasks/retrier.ts';
import type { TaskList } from '../tasks/task-list.ts';
import { disconnectSignal } from './disconnect-signal.ts';
import { Bytes, NoQuery, refusals, strictObject, TaskPage, TaskPath, Text } from './http-shapes.ts';
import { sendEnvelope } from './invoke.ts';
import { RetryVersion } from './retry.ts';
import { readStream, type StreamRouteDeps } from './streams.ts';

export interface TaskRouteDeps extends StreamRouteDeps {
  readonly canceller: Canceller;
  readonly retrier: Retrier;
  readonly list: TaskList;
}

const tags = ['Tasks'];
const JSON_LINES = 'application/x-ndjson';

const status = Type.Optional(Type.Enum(TASK_STATUSES));
const error = Type.Optional(
  Type.Enum(Object.keys(ERROR_TABLE) as ErrorCode[], { description: 'Only tasks that ended with this error.' }),
);
const exhausted = Type.Optional(
  Type.Boolean({
    description: 'true: only tasks that failed and had used all their attempts, or all of their wait in the queue.',
  }),
);
const before = Type.Optional(
  Type.String({ description: 'Only tasks accepted before this one (a task id) or before this time (ISO 8601).' }),
);

const since = Type.Optional(
  Type.String({
    description: 'Only this task (a task id) and those accepted after it, or since this time (ISO 8601).',
  }),
);

const MAX_RETRIES = 1000;
/** Most entries of a page: of one artifact, and of all artifacts, each of which is read for that many. */
const MAX_PAGE = 1000;
const MAX_PAGE_OF_ALL = 100;

const RetryAnswer = strictObject({
  retried: Type.Array(strictObject({ taskId: TaskId, retryOf: TaskId })),
  refused: Type.Array(strictObject({ retryOf: TaskId, error: ErrorBody })),
  next: Type.Union([TaskId, Type.Null()], {
    description: 'Value of `before` for the next page; null on the last page.',
  }),
});

/** Sends bytes of a function or a caller, with their content type. */
function sendBytes(reply: FastifyReply, { contentType, body }: { contentType: string; body: Buffer }): FastifyReply {
  return reply
    .headers({
      'content-type': /^[\x20-\x7e]{1,255}$/.test(contentType) ? contentType : 'application/octet-stream',
      // The bytes could be a page, which must not run with the rights of the API's origin.
      'x-content-type-options': 'nosniff',
      'content-security-policy': "default-src 'none'; sandbox",
    })
    .send(body);
}

export function taskRoutes(app: App, deps: TaskRouteDeps): void {
  const { reader, canceller, retrier, tasks, list } = deps;
  app.get(
    '/v1/tasks/:taskId',
    {
      config: { needs: 'tasks:read' },
      schema: {
        tags,
        summary: 'Status and result of a task',
        params: TaskPath,
        querystring: strictObject({
          wait: Type.Optional(
            Type.String({ description: 'How long to wait for the end of the task, for example 20s; up to 15m.' }),
          ),
        }),
        response: { 200: Envelope, ...refusals },
      },
    },
    async (request, reply) => {
      const { wait } = request.query;
      const waitMs = wait === undefined ? 0 : waitOf(wait);
      const read = reader.read(request.principal, request.params.taskId, waitMs, disconnectSignal(reply));
      return sendEnvelope(reply, 200, await answerInTime(read, waitMs));
    },
  );

  app.delete(
    '/v1/tasks/:taskId',
    {
      config: { needs: 'tasks:write' },
      schema: {
        tags,
        summary: 'Cancel a task, queued or running',
        description:
          'The task is cancelled at once. Cancelling it again is harmless; 409 if it has ended in another way.',
        params: TaskPath,
        querystring: NoQuery,
        response: { 200: Envelope, ...refusals },
      },
    },
    async (request, reply) => {
      const outcome = await answerInTime(canceller.cancel(request.principal, request.params.taskId));
      return sendEnvelope(reply, 200, await settledText(tasks, outcome, { attempts: true }));
    },
  );

  app.post(
    '/v1/tasks/retry',
    {
      config: { needs: 'tasks:write' },
      schema: {
        tags,
        summary: 'Retry many tasks that failed',
        description:
          'Newest first, and each task once: for a task that was retried before, the answer names the earlier retry.',
        querystring: NoQuery,
        body: strictObject({
          artifact: Name,
          status: Type.Optional(Type.Enum(['failed', 'timeout', 'cancelled'])),
          error,
          exhausted,
          before,
          since,
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_RETRIES, default: 100 })),
          version: Type.Optional(RetryVersion),
        }),
        response: { 200: RetryAnswer, ...refusals },
      },
    },
    async (request) => {
      const { body } = request;
      const page = await retrier.retryAll(
        request.principal,
        {
          artifactId: body.artifact,
          statuses: body.status === undefined ? ['failed', 'timeout', 'cancelled'] : [body.status],
          error: body.error ?? null,
          exhausted: body.exhausted ?? false,
          before: body.before === undefined ? null : cursorOf(body.before, '/body/before'),
          since: body.since === undefined ? null : cursorOf(body.since, '/body/since'),
          limit: body.limit ?? 100,
        },
        body.version ?? null,
      );
      return { retried: [...page.retried], refused: [...page.refused], next: page.next };
    },
  );

  app.get(
    '/v1/tasks/:taskId/result',
    {
      config: { needs: 'tasks:read' },
      schema: {
        tags,
        summary: 'The raw bytes of a result',
        description: 'The content type is that of the function. 409 for a task that is pending or failed.',
        params: TaskPath,
        querystring: NoQuery,
        response: { 200: Bytes, ...refusals },
      },
    },
    async (request, reply) => {
      const result = await answerInTime(reader.result(request.principal, request.params.taskId));
      // The error belongs to the task and not to this request, whose answer is that there is no result.
      if (result instanceof PilumError) return reply.code(409).send({ error: bodyOf(result) });
      return sendBytes(reply, result);
    },
  );

  app.get(
    '/v1/tasks/:taskId/payload',
    {
      config: { needs: 'tasks:read' },
      schema: {
        tags,
        summary: 'The raw bytes of a payload',
        description:
          'The content type is that of the call. A payload is kept until its task completes; if the task fails, times out or is ' +
          'cancelled, as long as the outcome.',
        params: TaskPath,
        querystring: NoQuery,
        response: { 200: Bytes, ...refusals },
      },
    },
    async (request, reply) =>
      sendBytes(reply, await answerInTime(reader.payload(request.principal, request.params.taskId))),
  );

  app.get(
    '/v1/tasks/:taskId/logs',
    {
      config: { needs: 'tasks:read' },
      schema: {
        tags,
        summary: 'The log of a task',
        description:
          `All that the task has printed and logged so far: lines of text, or JSON lines for format=json or Accept: ${JSON_LINES}. ` +
          'With follow=true, server-sent events until the task ends; Last-Event-ID, the number of a line, resumes after it.',
        params: TaskPath,
        querystring: strictObject({
          format: Type.Optional(Type.Enum(['text', 'json'])),
          tail: Type.Optional(
            Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'Number of last lines to answer.' }),
          ),
          follow: Type.Optional(Type.Boolean({ description: 'true: send each further line as it is written.' })),
        }),
        response: { 200: Text, ...refusals },
      },
    },
    async (request, reply) => {
      const { format, follow, tail } = request.query;
      if (follow === true && request.method === 'GET') {
        if (tail !== undefined) throw invalid([{ where: '/query/tail', what: 'does not go with follow=true' }]);
        if (format === 'text') {
          const what = 'must be json for JSON lines, or left out for server-sent events, with follow=true';
          throw invalid([{ where: '/query/format', what }]);
        }
        if (format === 'json') request.headers.accept = JSON_LINES;
        await readStream(request, reply, deps, { frames: false, lines: true });
        return reply;
      }
      const asJson = format === undefined ? request.headers.accept?.includes(JSON_LINES) : format === 'json';
      const runs = await answerInTime(reader.log(request.principal, request.params.taskId));
      const lines = logLines(runs, tail ?? null);
      reply.header('x-content-type-options', 'nosniff');
      if (asJson) return reply.type(JSON_LINES).send(lines.map((line) => `${line}\n`).join(''));
      return reply.type('text/plain; charset=utf-8').send(logText(lines));
    },
  );

  app.get(
    '/v1/tasks',
    {
      config: { needs: 'tasks:read' },
      schema: {
        tags,
        summary: 'List tasks, newest first',
        querystring: strictObject({
          limit: Type.Integer({
            minimum: 1,
            maximum: MAX_PAGE,
            default: 20,
            description: `Entries of a page; more than ${MAX_PAGE_OF_ALL} for one artifact only.`,
          }),
          artifact: Type.Optional(Name),
          status,
          error,
          exhausted,
          before,
          since,
          include: Type.Optional(
            Type.Enum(['result'], {
              description: 'result: with the result of each task; a page that grows too large ends early.',
            }),
          ),
        }),
        response: { 200: TaskPage, ...refusals },
      },
    },
    async (request, reply) => {
      const { artifact, status, error, exhausted, before, since: from, include, limit } = request.query;
      if (artifact === undefined && limit > MAX_PAGE_OF_ALL) {
        const what = `must be up to ${MAX_PAGE_OF_ALL}; for one artifact (?artifact=) up to ${MAX_PAGE}`;
        throw invalid([{ where: '/query/limit', what }]);
      }
      const page = await list.page(request.principal, {
        artifactId: artifact ?? null,
        statuses: status === undefined ? TASK_STATUSES : [status],
        error: error ?? null,
        exhausted: exhausted ?? false,
        before: before === undefined ? null : cursorOf(before, '/query/before'),
        since: from === undefined ? null : cursorOf(from, '/query/since'),
        limit,
      });
      if (include === undefined) return { tasks: page.tasks.map(({ head }) => head), next: page.next };
      return reply.type('application/json; charset=utf-8').send((await pageText(tasks, page)) as never);
    },
  );
}

function waitOf(text: string): number {
  const where = '/query/wait';
  const ms = parseDuration(text);
  const problem: Problem | null =
    ms === null
      ? { where, what: `must be ${DURATION_FORM}` }
      : ms > MAX_WAIT_MS
        ? { where, what: `must be up to ${durationText(MAX_WAIT_MS)}` }
        : null;
  if (problem !== null) throw invalid([problem]);
  return ms ?? 0;
}

/** Returns the ULID for a task id or a time. */
function cursorOf(before: string, where: string): string {
  if (matches(TaskId, before)) return ulidOf(before);
  const ms = /^\d{4}-\d{2}-\d{2}/.test(before) ? Date.parse(before) : Number.NaN;
  if (Number.isNaN(ms) || ms < 0) throw invalid([{ where, what: 'must be a task id or an ISO 8601 time' }]);
  return firstUlidAt(ms);
}
