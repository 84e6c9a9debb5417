import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type PilumError, RequestError } from '@pilum/core/errors/pilum-error.ts';
import { invalid } from './validation.ts';

/** How long a client may take over the answer to what was no request, ms. */
const LINGER_MS = 2000;

/** Has what never comes to a route answered as everything else is: with an error of the table, in the same form. */
export function answerBeforeRouting(server: Server): void {
  server.on('checkExpectation', (_request: IncomingMessage, response: ServerResponse) => {
    const error = new RequestError('EXPECTATION_FAILED');
    const text = textOf(error);
    response.writeHead(error.status, { ...headersOf(text), connection: 'close' }).end(text);
  });
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => {
    const message = 'There is no CONNECT: Pilum is no proxy.';
    refuse(socket as Socket, new RequestError('METHOD_NOT_ALLOWED', { message }));
  });
}

/** Connections that are at an answer, and have sent behind it what is no request. */
const behind = new WeakSet<Socket>();

/** Answers what Node could not read as a request, or not in time; and the answers before it first. */
export function answerClientError(error: Error & { code?: string; reason?: string }, socket: Socket): void {
  // There is nobody to hear it, or it has been said: what still comes on this connection is no request either.
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const running = runningOn(socket);
  if (running?.headersSent === true && running.req?.complete === false) return void socket.destroy();
  if (running !== undefined && running.req?.complete === true) {
    // It is the request behind this one that is none.
    if (behind.has(socket)) return;
    behind.add(socket);
    running.once('close', () => refuse(socket, errorOf(error)));
    return;
  }
  refuse(socket, errorOf(error));
}

/** The answer that a connection is at. Node asks the same of itself before it answers an error, and has no other name for it. */
function runningOn(socket: Socket): (ServerResponse & { readonly req?: IncomingMessage }) | undefined {
  const { _httpMessage } = socket as { _httpMessage?: ServerResponse | null };
  return _httpMessage ?? undefined;
}

function errorOf({ code, reason }: { readonly code?: string; readonly reason?: string }): PilumError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new RequestError('HEADERS_TOO_LARGE');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new RequestError('PAYLOAD_TOO_LARGE', {
        message: 'The extensions of a chunk are larger than they may be.',
      });
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new RequestError('REQUEST_TIMEOUT');
    default:
      return invalid([{ where: '/', what: `is no HTTP/1.1 request${reason ? `: ${reason}` : ''}` }]);
  }
}

function refuse(socket: Socket, error: PilumError): void {
  if (!socket.writable) return void socket.destroy();
  const text = textOf(error);
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}`,
    ...Object.entries(headersOf(text)).map(([name, value]) => `${name}: ${value}`),
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${text}`);
  // What it still sends is read for nothing, for a while: cut off at once, it might not get to see the answer.
  const limit = setTimeout(() => socket.destroy(), LINGER_MS);
  limit.unref();
  socket.once('close', () => clearTimeout(limit));
  socket.resume();
}

const textOf = (error: PilumError) => JSON.stringify({ error: error.toData() });

const headersOf = (text: string) => ({
  'content-type': 'application/json; charset=utf-8',
  'content-length': String(Buffer.byteLength(text)),
  'cache-control': 'no-store',
});

/** Headers of which a second would be another's to read. */
const SINGLE: ReadonlySet<string> = new Set(['host', 'content-type', 'authorization']);

/**
 * Refuses a request that does not say whom it is for, and one that says twice what can be so once only: whatever stands before
 * us may have read the other.
 * @throws RequestError `VALIDATION_FAILED`
 */
export function requireClearHeaders({ headers, rawHeaders, httpVersion }: IncomingMessage): void {
  if (headers.host === undefined && httpVersion === '1.1') {
    throw invalid([{ where: '/headers/host', what: 'is missing' }]);
  }
  let seen = '';
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const raw = rawHeaders[i] as string;
    if (raw.length !== 4 && raw.length !== 12 && raw.length !== 13) continue;
    const name = raw.toLowerCase();
    if (!SINGLE.has(name)) continue;
    if (seen.includes(name)) throw invalid([{ where: `/headers/${name}`, what: 'is there more than once' }]);
    seen += `${name} `;
  }
}
