import { randomUUID } from 'node:crypto';
import { TaskError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { outputChannel } from '@pilum/core/redis/keys.ts';
import type { OutputInbox } from '@pilum/core/replies/output-inbox.ts';
import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import type { OutputStore } from '@pilum/core/store/output-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Principal } from '../auth/principal.ts';
import { answerInTime } from '../http/answer-limit.ts';
import type { App } from '../http/app-type.ts';
import { invalid } from '../http/validation.ts';
import type { OpenStreams } from '../streams/open-streams.ts';
import { OutputReader, type Position, type Wanted } from '../streams/output-reader.ts';
import { PaceReport } from '../streams/pace-report.ts';
import { jsonLines, parsePosition, rawBytes, type StreamFormat, serverSentEvents } from '../streams/stream-format.ts';
import { writeStream } from '../streams/write-stream.ts';
import { type CallDeps, callInTime } from '../tasks/call-in-time.ts';
import { settledText } from '../tasks/envelope.ts';
import { readStreamOptions } from '../tasks/invocation-options.ts';
import type { TaskReader } from '../tasks/task-reader.ts';
import { AnyBody, CommonOptions, callRequest } from './call-request.ts';
import { disconnectSignal } from './disconnect-signal.ts';
import { Nothing, ReferencePath, refusals, strictObject, TaskPath, Text } from './http-shapes.ts';
import { statusOf } from './invoke.ts';

export interface StreamRouteDeps extends CallDeps {
  readonly payloadLimitBytes: number;
  readonly reader: TaskReader;
  readonly tasks: TaskStore;
  readonly outputs: OutputStore;
  readonly outputInbox: OutputInbox;
  readonly streams: OpenStreams;
}

/** Time for which Redis remembers a reader that waits for an outcome, s; later the reader polls by itself. */
const WAITER_S = 3600;
const START: Position = { frame: 0, line: 0 };
const tags = ['Streams'];
const FORMATS =
  'Server-sent events; JSON lines for Accept: application/x-ndjson; the yielded bytes alone for ' +
  'Accept: application/octet-stream.';

const Logs = Type.Optional(Type.String({ description: 'true: with the lines of the log. Header: Pilum-Logs.' }));

/** Adds the route of streamed calls, to a scope that takes bodies as bytes. */
export function startStreamRoute(app: App, deps: StreamRouteDeps): void {
  app.post(
    '/v1/artifacts/:id/stream',
    {
      bodyLimit: deps.payloadLimitBytes,
      config: { needs: 'functions:call', takesBody: AnyBody, takesOptions: 'all' },
      schema: {
        tags,
        summary: 'Call a function and watch its output as it comes',
        description:
          `Like an invoke, with each yielded value sent at once. ${FORMATS} Events: chunk, progress, log, restart, and end with the ` +
          'envelope. The header Location names the task; GET /v1/tasks/{taskId}/stream with Last-Event-ID resumes the stream. A slow ' +
          'reader slows the function down.',
        params: ReferencePath,
        querystring: strictObject({
          ...CommonOptions,
          logs: Logs,
          detach: Type.Optional(
            Type.String({
              description:
                'true: the task goes on without a reader; else it is cancelled after a while without one. Header: Pilum-Detach.',
            }),
          ),
          restart: Type.Optional(
            Type.String({
              description:
                'true: retry or recovery may run the task again after it has yielded; the event restart tells. Header: Pilum-Restart.',
            }),
          ),
        }),
        response: { 200: Text, ...refusals },
      },
    },
    async (request, reply) => {
      const called = callRequest(request);
      const options = readStreamOptions(request.query, request.headers);
      const wanted = { frames: true, lines: options.stream.logs };
      const format = formatOf(request, wanted);
      const entry = deps.streams.enter(!format.isRaw);
      const gone = disconnectSignal(reply);
      let started: { readonly reader: OutputReader; readonly ticket: Ticket } | undefined;
      try {
        const { dispatched } = await callInTime(deps, request.principal, {
          ...called,
          options,
          gone,
          onTicket: (ticket) => {
            const reader = new OutputReader(readerDeps(deps), ticket, START, wanted);
            reader.follow(true);
            started = { reader, ticket };
          },
        });
        if (started === undefined) throw new Error('a task was accepted that nobody has heard of');
        const { ticket, reader } = started;
        if (dispatched.isReplay) {
          reply.header('idempotent-replayed', 'true');
          await joinOutcome(deps, ticket);
          const outcome = dispatched.outcome ?? (await deps.tasks.outcome(ticket));
          reader.onGap();
          if (outcome !== null) reader.onOutcome(outcome);
        }
        const signal = AbortSignal.any([gone, entry.signal]);
        await sendStream(reply, deps, { ticket, reader, format, signal, readerId: ticket.stream?.readerId ?? null });
      } finally {
        started?.reader.close();
        entry.leave();
      }
    },
  );
}

export function readStreamRoutes(app: App, deps: StreamRouteDeps): void {
  app.get(
    '/v1/tasks/:taskId/stream',
    {
      // A HEAD would have to describe an answer without end.
      exposeHeadRoute: false,
      config: { needs: 'tasks:read', takesOptions: ['logs'] },
      schema: {
        tags,
        summary: 'Watch the output of a task, running or ended',
        description:
          `From the beginning, or after the event that Last-Event-ID names. ${FORMATS} 410 if the next events are no longer kept; 204 ` +
          'for a reader that has everything.',
        params: TaskPath,
        querystring: strictObject({ logs: Logs }),
        response: { 200: Text, 204: Nothing, ...refusals },
      },
    },
    async (request, reply) => {
      const lines = logsWanted(request);
      await readStream(request, reply, deps, { frames: true, lines });
    },
  );
}

/**
 * Sends the output of a task to a reader.
 * @throws TaskError `TASK_NOT_FOUND`, `STREAM_TRUNCATED`; RequestError `VALIDATION_FAILED`; SystemError `TOO_MANY_STREAMS`
 */
export async function readStream(
  request: FastifyRequest<{ Params: { taskId: string } }>,
  reply: FastifyReply,
  deps: StreamRouteDeps,
  wanted: Wanted,
): Promise<void> {
  const principal = request.principal;
  const task = { namespace: principal.namespace, taskId: request.params.taskId };
  const format = formatOf(request, wanted);
  const { position, isResumed } = positionIn(request, wanted);
  const entry = deps.streams.enter(!format.isRaw);
  const gone = disconnectSignal(reply);
  const reader = new OutputReader(readerDeps(deps), task, position, wanted);
  try {
    reader.follow(false);
    const state = await answerInTime(stateOf(deps, principal, task.taskId, position, wanted));
    if (state === 'read') {
      reply.code(204).send();
      return;
    }
    // The task has ended, so no message will bring the outcome.
    if (state !== 'open') reader.onOutcome(state);
    const signal = AbortSignal.any([gone, entry.signal]);
    // A resumed reader may be the one whose pace the function follows; a new reader never is.
    const readerId = wanted.frames && isResumed ? randomUUID() : null;
    await sendStream(reply, deps, { ticket: task, reader, format, signal, readerId });
  } finally {
    reader.close();
    entry.leave();
  }
}

/** Finds out what is left to read from a position on: `read` for nothing, `open` for a running task, else the outcome. */
async function stateOf(
  deps: StreamRouteDeps,
  principal: Principal,
  taskId: string,
  position: Position,
  wanted: Wanted,
): Promise<'open' | 'read' | Outcome> {
  const { outputs } = deps;
  const task = { namespace: principal.namespace, taskId };
  const found = await deps.reader.find(principal, taskId);
  // Joined before anything is read, so that a later outcome is sure to arrive on the channel.
  if (found.outcome === null) await joinOutcome(deps, task);
  const [outcome, end, runs] = await Promise.all([
    // The task may have been settled just before the reader joined.
    found.outcome ?? deps.tasks.outcome(task),
    outputs.end(task),
    wanted.frames ? outputs.frames(task, position.frame, 1) : [],
  ]);
  const last = wanted.frames ? end.frames - position.frame : end.lines - position.line;
  if (last < 0) {
    if (outcome !== null) return 'read';
    throw invalid([{ where: '/headers/last-event-id', what: 'is ahead of everything that the task has given' }]);
  }
  const first = runs[0];
  const isGone = first === undefined ? wanted.frames && last > 0 : first.after > position.frame;
  if (isGone) {
    throw new TaskError('STREAM_TRUNCATED', {
      message:
        first === undefined
          ? `The frames of ${taskId} are no longer kept.`
          : `The frames of ${taskId} are kept from ${first.after + 1} on.`,
      details: { taskId, oldestId: first === undefined ? null : first.after + 1 },
    });
  }
  return outcome ?? 'open';
}

interface Sending {
  readonly ticket: TaskRef;
  readonly reader: OutputReader;
  readonly format: StreamFormat;
  readonly signal: AbortSignal;
  /** The id of a reader that may slow the function down; null for any other. */
  readonly readerId: string | null;
}

async function sendStream(reply: FastifyReply, deps: StreamRouteDeps, sending: Sending): Promise<void> {
  const { ticket, reader, format, signal, readerId } = sending;
  const { tasks, outputs } = deps;
  const pace = readerId === null ? null : new PaceReport(outputs, ticket, readerId, reader);
  reply.hijack();
  try {
    await writeStream(reply.raw, {
      reader,
      format,
      pace,
      signal,
      head: (status, contentType) => {
        const headers = Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined);
        reply.raw.writeHead(status, {
          ...(Object.fromEntries(headers) as Record<string, string>),
          'content-type': contentType,
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
          // nginx would buffer the stream.
          'x-accel-buffering': 'no',
          location: `/v1/tasks/${ticket.taskId}`,
        });
        reply.raw.flushHeaders();
      },
      statusOf: (outcome: Outcome) => statusOf(outcome),
      envelope: (outcome) => settledText(tasks, outcome),
      result: (outcome) => tasks.result(outcome),
    });
  } catch (error) {
    // The answer has begun; cutting the connection tells the client that it is incomplete.
    logEvent(reply.log, 'stream-broke-off', { err: error, taskId: ticket.taskId });
    reply.raw.destroy();
  } finally {
    pace?.close();
  }
}

/** Adds a reader as a waiter, because the outcome of a task that is not streamed is sent to waiters only. */
async function joinOutcome({ tasks }: StreamRouteDeps, task: TaskRef): Promise<void> {
  await tasks.addWaiter(task, outputChannel(task), WAITER_S).catch(() => undefined);
}

const readerDeps = ({ outputInbox, outputs, tasks }: StreamRouteDeps) => ({ inbox: outputInbox, outputs, tasks });

function formatOf({ headers }: FastifyRequest, wanted: Wanted): StreamFormat {
  const { accept = '' } = headers;
  if (accept.includes('application/x-ndjson')) return jsonLines(wanted);
  if (wanted.frames && accept.includes('application/octet-stream')) {
    if (wanted.lines) {
      throw invalid([
        {
          where: '/query/logs',
          what: 'does not go with Accept: application/octet-stream, which has no place for lines',
        },
      ]);
    }
    return rawBytes;
  }
  return serverSentEvents(wanted);
}

function positionIn({ headers }: FastifyRequest, wanted: Wanted): { position: Position; isResumed: boolean } {
  const id = headers['last-event-id'];
  if (id === undefined || id === '') return { position: START, isResumed: false };
  const position = typeof id === 'string' ? parsePosition(id, wanted) : null;
  if (position === null) {
    throw invalid([{ where: '/headers/last-event-id', what: 'must be the id of an event of this stream' }]);
  }
  return { position, isResumed: true };
}

function logsWanted({ query, headers }: FastifyRequest): boolean {
  const given = (query as { logs?: string }).logs ?? headers['pilum-logs'] ?? 'false';
  if (given === 'true' || given === 'false') return given === 'true';
  throw invalid([{ where: '/query/logs', what: 'must be true or false' }]);
}
