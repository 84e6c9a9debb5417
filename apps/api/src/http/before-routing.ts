import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type PilumError, RequestError } from '@pilum/core/errors/pilum-error.ts';
import { invalid } from './validation.ts';

/** Time for a client to read the refusal of a malformed request, ms. */
const LINGER_MS = 2000;

/** Answers requests that never reach a route (CONNECT, unknown expectations) with an error of the table. */
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

/** Connections with a malformed request behind the one that is being answered. */
const behind = new WeakSet<Socket>();

/** Answers a request that Node could not parse, or not in time, after the answers that are due before it. */
export function answerClientError(error: Error & { code?: string; reason?: string }, socket: Socket): void {
  // The client has gone, or the connection was refused before.
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const running = runningOn(socket);
  if (running?.headersSent === true && running.req?.complete === false) return void socket.destroy();
  if (running !== undefined && running.req?.complete === true) {
    // The running request is whole; the malformed one is behind it.
    if (behind.has(socket)) return;
    behind.add(socket);
    running.once('close', () => refuse(socket, errorOf(error)));
    return;
  }
  refuse(socket, errorOf(error));
}

/** Returns the answer that a connection is busy with. Node uses the same private field before it answers an error itself. */
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
  // The client may still be sending. Cut off at once, it might never read the answer.
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

/** Headers that a request may have once; with two, a proxy might read one and Pilum the other. */
const SINGLE: ReadonlySet<string> = new Set(['host', 'content-type', 'authorization']);

/**
 * Refuses a request without a Host header, or with two of a header that may be there once.
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
