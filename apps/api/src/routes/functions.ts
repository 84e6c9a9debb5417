import { METHODS } from 'node:http';
import { ERROR_TABLE } from '@pilum/core/errors/error-table.ts';
import { RequestError } from '@pilum/core/errors/pilum-error.ts';
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
  /** Pages of functions may act as whoever opened them. */
  readonly trustsPages: boolean;
  readonly front: Front;
}

const SHOWN = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
/** CONNECT is for proxies, and TRACE would give back headers that scripts must not see. */
const OTHERS = METHODS.filter((method) => !SHOWN.includes(method) && method !== 'CONNECT' && method !== 'TRACE');

/** A chunk or none: how the task behind a request is read. */
const WANTED = { frames: true, lines: false } as const;

/** To be registered where a body of any content type is taken as its bytes. */
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
            'Any method, path, query and body go to the function as they are, and its own status, headers and body come back, ' +
            'as they come. The header Pilum-Task-Id names the task. Options as headers: Pilum-Timeout, Pilum-Priority, ' +
            'Pilum-Attempts (1 where it is not said). A task that fails before it has answered is answered with its error.',
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
      // It is the function's, as everything is that a request says of itself.
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
  /** Headers of ours that every answer has besides its own: name, value, name, value … */
  readonly others: readonly string[];
}

async function sendAnswer(reply: FastifyReply, deps: FunctionRouteDeps, sending: Sending): Promise<void> {
  const { reader, ticket, signal, place, method } = sending;
  const { outputs, tasks } = deps;
  // An origin of its own shares nothing with the API.
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
    // Where the answer has begun, all that is left to say is that it is not whole.
    reply.log.error({ err: error, taskId: ticket.taskId }, 'the answer of a function broke off');
    raw.destroy();
  } finally {
    pace.close();
  }
}

/** What a task that failed before it had an answer of its own is answered with. */
function failureOf({ error, taskId, attempt }: Outcome): { status: number; text: string } {
  const { code } = error ?? { code: 'INTERNAL' };
  return { status: ERROR_TABLE[code].status, text: JSON.stringify({ error: { ...error, taskId, attempt } }) };
}

/**
 * What of a request's target is the function's: as it was sent, and not decoded.
 * @param target path and query, which the router has found to be one of these
 */
function urlIn(target: string): string {
  const [, rest = ''] = /^\/fn\/[^/?]*(.*)$/s.exec(target) ?? [];
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** @throws RequestError `NOT_IMPLEMENTED` */
function refuseWebSocket(upgrade: string | undefined): void {
  if (upgrade === undefined || upgrade.toLowerCase() !== 'websocket') return;
  throw new RequestError('NOT_IMPLEMENTED', {
    message: 'A function is not called over a WebSocket.',
    hint: 'It can stream what it answers, as server-sent events for example; what is sent to it comes with the request.',
  });
}

const readerDeps = ({ outputInbox, outputs, tasks }: StreamRouteDeps) => ({ inbox: outputInbox, outputs, tasks });
