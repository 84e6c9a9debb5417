import type { Readable } from 'node:stream';
import { InstanceError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import { FRAME_KINDS, packFrame } from '@pilum/core/schemas/frame.ts';
import { type HttpHead, headerOf, readHead } from '@pilum/core/schemas/http-head.ts';
import { type Dispatcher, errors, Pool } from 'undici';
import type { ServerAddress } from '../../contract/dialer.ts';
import { HeldBytes } from '../../contract/held-bytes.ts';
import type { Call, CallResult, ChunkSink } from '../../contract/runtime.ts';
import { type Piece, TextOrBytes } from '../output/text-or-bytes.ts';
import type { Throttle } from '../output/throttle.ts';
import { type Exchange, newExchange } from './exchange.ts';
import { HttpAnswer } from './http-answer.ts';
import { ServerMeter } from './metered-socket.ts';
import { EXCERPT, isSuccess, statusFailure } from './status-failure.ts';

/** Servers close connections that nobody uses, gunicorn after 2 s; one that is used in that moment fails. */
const KEEP_ALIVE_MS = 1000;
/** A head is larger than Node's own servers send one. */
const MOST_HEAD_BYTES = 32 * 1024;

const NO_ROOM = 'The server had sent a part of its answer, and the worker needed the room for others.';
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/** Thrown where the server has closed a connection, or takes none: it may be at its end, which its instance knows. */
export class ConnectionLost extends Error {
  readonly hasAnswered: boolean;

  constructor(cause: unknown, hasAnswered: boolean) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.name = 'ConnectionLost';
    this.hasAnswered = hasAnswered;
  }
}

/** Talks to a server that is a function: a call is a request, and what it answers is what the call came to. */
export class ServerClient {
  readonly #pool: Pool;
  /** The pool, with what it reads charged. */
  readonly #metered: Dispatcher;
  readonly #limitBytes: number;
  readonly #onHeard: () => void;
  readonly #connections: number;
  readonly #handedOn: ((connection: string) => Promise<number | null>) | null;
  #hasAnswered = false;

  /**
   * @param options.connections how many requests it may be sent at a time
   * @param options.limitBytes what an answer that is wanted whole may have at most
   * @param options.throttle what is read of the server is charged to it
   * @param options.handedOn tells how many bytes of a connection the server was given, where a bridge stands between; null where
   *   that is not known
   * @param options.onHeard is told each time that the server has said something
   */
  constructor(
    address: ServerAddress,
    options: {
      readonly connections: number;
      readonly limitBytes: number;
      readonly throttle: Throttle;
      readonly handedOn?: (connection: string) => Promise<number | null>;
      readonly onHeard?: () => void;
    },
  ) {
    const { host, port, socketPath } = address;
    const { onHeard = () => undefined } = options;
    const meter = new ServerMeter(options.throttle, onHeard);
    this.#onHeard = onHeard;
    this.#connections = options.connections + 1;
    this.#handedOn = options.handedOn ?? null;
    this.#limitBytes = options.limitBytes;
    this.#pool = new Pool(`http://${host}:${port}`, {
      // One more, to ask after its health.
      connections: this.#connections,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MOST_HEAD_BYTES,
      // The run timeout says how long an answer may take.
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
      connect: meter.connector(socketPath === null ? { host, port } : { path: socketPath }),
    });
    this.#metered = this.#pool.compose(meter.interceptor);
  }

  /**
   * Sends one call and takes the answer. Any status but 2xx is the function's failure where it was invoked, which is a POST
   * to /.
   * @param signal ends it: the connection is closed
   * @throws ConnectionLost; what the signal was aborted with
   */
  async call(call: Call, signal: AbortSignal): Promise<CallResult> {
    // A connection that is kept alive may be closed in the moment in which it is used. A request that may be sent twice is
    // (RFC 9110, 9.2.2), and so is any of which the server has read nothing.
    let mayRepeat = this.#hasAnswered && IDEMPOTENT.has(call.http?.method ?? 'POST');
    for (let others = this.#connections; ; others--) {
      const exchange = newExchange();
      try {
        return await this.#send(call, exchange, signal);
      } catch (error) {
        if (!(error instanceof ConnectionLost) || error.hasAnswered || others === 0) throw error;
        if (await this.#isUnread(exchange)) continue;
        if (!mayRepeat) throw error;
        mayRepeat = false;
      }
    }
  }

  /** Tells whether it is certain that the server has read nothing of a request: it had closed its connection before. */
  async #isUnread({ isReused, isUnsent, connection, offset }: Exchange): Promise<boolean> {
    if (!isReused || isUnsent) return isUnsent;
    const handedOn = (await this.#handedOn?.(connection)) ?? null;
    return handedOn !== null && handedOn <= offset;
  }

  async #send(call: Call, exchange: Exchange, signal: AbortSignal): Promise<CallResult> {
    const { http, payload } = call;
    let hasAnswered = false;
    try {
      const response = await this.#metered.request({
        method: (http?.method ?? 'POST') as Dispatcher.HttpMethod,
        path: http?.url ?? '/',
        headers: headersOf(call),
        body: payload.length === 0 ? null : payload,
        responseHeaders: 'raw',
        signal,
        ...{ exchange },
      });
      hasAnswered = true;
      this.#hasAnswered = true;
      this.#onHeard();
      // Whoever reads it hears of an error; one that nobody reads any more is not to end this process.
      response.body.on('error', () => undefined);
      const head = readHead(headIn(response.statusCode, response.headers as unknown as string[]));
      if (typeof head === 'string') {
        response.body.destroy();
        throw noHttp(head);
      }
      if (http === null) return await this.#result(call, head, response.body, signal);
      return await passOn(new HttpAnswer(call.chunks, this.#limitBytes), head, response.body, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof TaskError) return { ok: false, error: error.toData() };
      if (error instanceof InstanceError) throw error;
      if (isLost(error)) throw new ConnectionLost(error, hasAnswered);
      return { ok: false, error: noHttp(error).toData() };
    }
  }

  /** Tells whether a GET of the path is answered with 200 to 399 in time, ms. */
  async isHealthy(path: string, withinMs: number, signal?: AbortSignal): Promise<boolean> {
    const limit = AbortSignal.timeout(Math.ceil(withinMs));
    try {
      const { statusCode, body } = await this.#metered.request({
        method: 'GET',
        path,
        headers: { 'user-agent': 'pilum-health' },
        signal: signal === undefined ? limit : AbortSignal.any([limit, signal]),
      });
      body.on('error', () => undefined);
      await body.dump();
      return statusCode >= 200 && statusCode < 400;
    } catch {
      return false;
    }
  }

  /** Ends every connection. May be called again. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  /** Reads the result of an invoke from an answer. */
  async #result(call: Call, head: HttpHead, body: Readable, signal: AbortSignal): Promise<CallResult> {
    if (!isSuccess(head.status)) throw statusFailure(head.status, await excerptOf(body));
    if (call.chunks !== null) {
      await streamTo(call.chunks, body, signal);
      return { ok: true, streamed: true, contentType: 'application/json', body: Buffer.from('null') };
    }
    let wasEvicted = false;
    const whole = new HeldBytes(() => {
      wasEvicted = true;
      body.destroy();
    });
    try {
      for await (const bytes of body) {
        if (whole.length + bytes.length > this.#limitBytes) throw new InstanceError('OUTPUT_TOO_LARGE');
        whole.push(bytes);
      }
      if (wasEvicted) throw new InstanceError('INSTANCE_LOST', { message: NO_ROOM });
      const contentType = headerOf(head, 'content-type') ?? 'application/octet-stream';
      return { ok: true, contentType, body: whole.take() };
    } catch (error) {
      throw wasEvicted ? new InstanceError('INSTANCE_LOST', { message: NO_ROOM }) : error;
    } finally {
      whole.drop();
    }
  }
}

function headersOf({ http, headers, contentType, traceparent, taskId, attempt, deadlineMs }: Call) {
  return {
    ...headers,
    ...(http === null ? { 'content-type': contentType } : {}),
    ...(traceparent === null ? {} : { traceparent }),
    'pilum-task-id': taskId,
    'pilum-attempt': String(attempt),
    'pilum-deadline-ms': String(deadlineMs),
  };
}

/** @param flat name, value, name, value … */
function headIn(status: number, flat: readonly string[]): HttpHead {
  const headers: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) headers.push([flat[i] ?? '', flat[i + 1] ?? '']);
  return { status, headers };
}

async function passOn(
  answer: HttpAnswer,
  head: HttpHead,
  body: AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<CallResult> {
  answer.begin(head);
  try {
    for await (const bytes of body) {
      const wait = answer.take(packFrame(FRAME_KINDS.bytes, bytes));
      if (wait !== null) await roomOr(signal, wait);
    }
    return answer.end();
  } finally {
    answer.close();
  }
}

async function streamTo(chunks: ChunkSink, body: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
  const pieces = new TextOrBytes();
  const give = async (piece: Piece | null) => {
    const wait = piece === null ? null : chunks.take(packFrame(piece.kind, piece.payload));
    if (wait !== null) await roomOr(signal, wait);
  };
  for await (const bytes of body) await give(pieces.push(bytes));
  await give(pieces.rest());
}

/**
 * Waits until there is room.
 * @throws what the signal is aborted with: then there may never be any
 */
async function roomOr(signal: AbortSignal, room: Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([room, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Returns the beginning of an answer's body. */
async function excerptOf(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const bytes of body) {
    parts.push(bytes);
    size += bytes.length;
    if (size >= EXCERPT) break;
  }
  return Buffer.concat(parts).toString('utf8');
}

const LOST_CODES: ReadonlySet<unknown> = new Set(['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ENOENT', 'ENOTCONN']);

function isLost(error: unknown): boolean {
  if (error instanceof errors.SocketError) return true;
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  return LOST_CODES.has(code) || cause instanceof errors.SocketError;
}

function noHttp(what: unknown): TaskError {
  const message = what instanceof Error ? what.message : String(what);
  return new TaskError('FUNCTION_FAILED', {
    message: `What the server answered is not HTTP/1.1 as it must be: ${message}`,
    details: { reason: message },
  });
}
