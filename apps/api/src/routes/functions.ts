import { METHODS } from 'node:http';
import { ERROR_TABLE } from '@pilum/core/errors/error-table.ts';
import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { ArtifactReference } from '@pilum/core/schemas/names.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Front } from '../auth/front.ts';
import { answerHeaders } from '../endpoints/answer-head.ts';
import type { Place } from '../endpoints/place.ts';
import { placeOf } from '../endpoints/place-of.ts';
import { requestHeaders } from '../endpoints/request-headers.ts';
import { writeAnswer } from '../endpoints/write-answer.ts';
import type { App } from '../http/app-type.ts';
import { OutputReader } from '../streams/output-reader.ts';
import { PaceReport } from '../streams/pace-report.ts';
import { callInTime } from '../tasks/call-in-time.ts';
import { readEndpointOptions } from '../tasks/invocation-options.ts';
import { RequestBody, traceparentOf } from './call-request.ts';
import { disconnectSignal } from './disconnect-signal.ts';
import { Bytes, refusals, strictObject } from './http-shapes.ts';
import type { StreamRouteDeps } from './streams.ts';

export interface FunctionRouteDeps extends StreamRouteDeps {
  /** Whether pages of functions may act with the rights of their visitors. */
  readonly trustsPages: boolean;
  readonly front: Front;
}

const SHOWN = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
/** All other methods but CONNECT, which is for proxies, and TRACE, which would show scripts headers that they must not see. */
const OTHERS = METHODS.filter((method) => !SHOWN.includes(method) && method !== 'CONNECT' && method !== 'TRACE');

/** The output that is read of the task behind a request: its chunks, without the log. */
const WANTED = { frames: true, lines: false } as const;

/** Adds the routes of functions as web endpoints, to a scope that takes bodies as bytes. */
export function functionRoutes(app: App, deps: FunctionRouteDeps): void {
  for (const method of OTHERS) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true });
  }
  for (const url of ['/fn/:id', '/fn/:id/*']) {
    for (const method of [SHOWN, OTHERS]) {
      app.route<{ Params: { id: string } }>({
        method,
        url,
        exposeHeadRoute: false,
        bodyLimit: deps.payloadLimitBytes,
        config: { needs: 'functions:call', isAdmittedBySpec: true, takesBody: RequestBody, takesOptions: 'all' },
        schema: {
          hide: method === OTHERS,
          tags: ['Calls'],
          summary: 'Call a function as a web endpoint',
          description:
            'Method, path, query and body go to the function unchanged, and its status, headers and body are streamed back. The header ' +
            'Pilum-Task-Id names the task. Options are headers: Pilum-Timeout, Pilum-Priority, Pilum-Attempts (1 by default). The answer ' +
            'to a task that fails before the function has answered is its error.',
          params: strictObject({ id: ArtifactReference, '*': Type.Optional(Type.String()) }),
          response: { 200: Bytes, ...refusals },
        },
        handler: (request, reply) => callFunction(request, reply, deps),
      });
    }
  }
}

async function callFunction(
  request: FastifyRequest<{ Params: { id: string } }>,
  reply: FastifyReply,
  deps: FunctionRouteDeps,
): Promise<void> {
  const { headers, method, body } = request;
  refuseWebSocket(headers.upgrade);
  const principal = request.principal;
  const reference = request.params.id;
  const url = urlIn(request.raw.url ?? '/');
  const seen = deps.front.seen(request.raw);
  const place = placeOf(request, deps.front, { seen, namespace: principal.namespace, reference, url });
  const options = readEndpointOptions(headers);
  const entry = deps.streams.enter(false);
  const gone = disconnectSignal(reply);
  let started: { readonly reader: OutputReader; readonly ticket: Ticket } | undefined;
  try {
    await callInTime(deps, principal, {
      reference,
      payload: body instanceof Buffer ? body : Buffer.alloc(0),
      contentType: headers['content-type'] ?? 'application/octet-stream',
      headers: requestHeaders(request, seen, place),
      http: { method, url },
      traceparent: traceparentOf(request),
      // The header Idempotency-Key goes to the function, which may use it itself.
      idempotencyKey: null,
      options,
      gone,
      onTicket: (ticket) => {
        const reader = new OutputReader(readerDeps(deps), ticket, { frame: 0, line: 0 }, WANTED);
        reader.follow(true);
        started = { reader, ticket };
      },
    });
    if (started === undefined) throw new Error('a task was accepted that nobody has heard of');
    const signal = AbortSignal.any([gone, entry.signal]);
    await sendAnswer(reply, deps, {
      ...started,
      signal,
      method,
      place,
      others: Object.entries(request.corsHeaders ?? {}).flat(),
    });
  } finally {
    started?.reader.close();
    entry.leave();
  }
}

interface Sending {
  readonly reader: OutputReader;
  readonly ticket: Ticket;
  readonly signal: AbortSignal;
  readonly place: Place;
  readonly method: string;
  /** Headers that Pilum adds to the answer: name, value, name, value … */
  readonly others: readonly string[];
}

async function sendAnswer(reply: FastifyReply, deps: FunctionRouteDeps, sending: Sending): Promise<void> {
  const { reader, ticket, signal, place, method } = sending;
  const { outputs, tasks } = deps;
  // A function with an origin of its own shares no cookies or keys with the API.
  const trustsPages = deps.trustsPages || place.cookiePrefix === '';
  const { raw } = reply;
  const isHead = method === 'HEAD';
  const others = ['pilum-task-id', ticket.taskId, ...sending.others];
  const pace = new PaceReport(outputs, ticket, ticket.stream?.readerId ?? '', reader);
  reply.hijack();
  try {
    await writeAnswer(raw, {
      reader,
      pace,
      isHead,
      signal,
      headersOf: (head, sizeBytes) => [...answerHeaders(head, { ...place, isHead }, sizeBytes, trustsPages), ...others],
      result: (outcome) => tasks.result(outcome),
      fail: (outcome) => {
        const { status, text } = failureOf(outcome);
        raw.writeHead(status, [
          ...['content-type', 'application/json; charset=utf-8', 'content-length', String(Buffer.byteLength(text))],
          ...['cache-control', 'no-store'],
          ...others,
        ]);
        raw.write(text);
      },
    });
  } catch (error) {
    // The answer may have begun; cutting the connection tells the client that it is incomplete.
    logEvent(reply.log, 'answer-broke-off', { err: error, taskId: ticket.taskId });
    raw.destroy();
  } finally {
    pace.close();
  }
}

/** Makes the answer for a task that failed before its function answered. */
function failureOf({ error, taskId, attempt }: Outcome): { status: number; text: string } {
  const { code } = error ?? { code: 'INTERNAL' };
  return { status: ERROR_TABLE[code].status, text: JSON.stringify({ error: { ...error, taskId, attempt } }) };
}

/**
 * Returns the path and query for the function, exactly as they were sent.
 * @param target path and query of the request, which the router has matched
 */
function urlIn(target: string): string {
  const [, rest = ''] = /^\/fn\/[^/?]*(.*)$/s.exec(target) ?? [];
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** @throws RequestError `NOT_IMPLEMENTED` */
function refuseWebSocket(upgrade: string | undefined): void {
  if (upgrade === undefined || upgrade.toLowerCase() !== 'websocket') return;
  throw new RequestError('NOT_IMPLEMENTED', {
    message: 'A function cannot be called over a WebSocket.',
    hint: 'A function can stream its answer, for example as server-sent events; all of its input comes with the request.',
  });
}

const readerDeps = ({ outputInbox, outputs, tasks }: StreamRouteDeps) => ({ inbox: outputInbox, outputs, tasks });
