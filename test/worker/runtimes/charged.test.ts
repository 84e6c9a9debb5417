import { createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import type { Call } from '../../../apps/worker/src/runtimes/contract/runtime.ts';
import {
  encodeFrame,
  FRAME_TYPES,
  type FrameType,
} from '../../../apps/worker/src/runtimes/protocols/handler/frames.ts';
import { HandlerInstance } from '../../../apps/worker/src/runtimes/protocols/handler/handler-instance.ts';
import { ServerClient } from '../../../apps/worker/src/runtimes/protocols/http/server-client.ts';
import { Throttle } from '../../../apps/worker/src/runtimes/protocols/output/throttle.ts';
import { fill } from '../../conformance/snapshots.ts';
import { waitFor } from '../../support/wait-for.ts';
import { FakeProcess } from '../support/fake-process.ts';

const call: Call = {
  taskId: 't',
  attempt: 1,
  deadlineMs: Date.now() + 60_000,
  contentType: 'application/json',
  payload: Buffer.from('{}'),
  headers: {},
  http: null,
  traceparent: null,
  log: { write: () => {} },
  chunks: null,
  progress: () => {},
  signal: new AbortController().signal,
};
const { LOG, RESULT, ERROR, CHUNK, HEAD, PROGRESS, READY } = FRAME_TYPES;

test.for<[string, FrameType, object, Buffer?]>([
  ['records of another call', LOG, { id: 99 }],
  ['printed lines', LOG, { stream: 'stdout' }, Buffer.from('\n')],
  ['nothing, printed', LOG, { stream: 'stdout' }],
  ['results of another call', RESULT, { id: 99 }],
  ['errors of another call', ERROR, { id: 99 }],
  ['errors of a start', ERROR, { id: 0 }],
  ['chunks of another call', CHUNK, { id: 99 }],
  ['heads of another call', HEAD, { id: 99, head: { status: 200, headers: [] } }],
  ['progress of another call', PROGRESS, { id: 99 }, Buffer.from('1')],
  ['that it is ready', READY, {}],
])(
  'a function that sends %s without end is read no faster than its budget, and its pipe holds the rest',
  async ([, type, meta, payload]) => {
    const fake = new FakeProcess();
    const version = fill({ runtime: 'process', language: 'node', entry: 'index.mjs' });
    const instance = new HandlerInstance(
      'i',
      { namespace: 'default', version, codeDirectory: null, layers: [] },
      fake.launched,
    );
    const running = instance.call(call);
    running.catch(() => {});
    const block = Buffer.concat(Array.from({ length: 1000 }, () => encodeFrame(type, meta, payload)));
    // Time stands still, so that there is no more budget than what there is at once.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now());
    let written = 0;
    while (written < 100_000 && fake.channel.write(block)) {
      written += 1000;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(written).toBeLessThan(30_000);
    // On a busy machine it has just been resumed to see that there is no budget yet.
    const isPaused = () => fake.launched.channel?.isPaused() === true;
    for (let turn = 0; turn < 1000 && !isPaused(); turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(isPaused()).toBe(true);
    clock.mockRestore();
    await instance.stop({ graceMs: 0 });
  },
);

let server: Server | null = null;
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  server?.close();
});

/** A client of a server that answers every request in a way of its own, and how much it was let send. */
async function served(answer: (socket: Socket) => void) {
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', () => answer(socket));
  });
  const listening = server;
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const { port } = listening.address() as { port: number };
  const throttle = new Throttle();
  const address = { host: '127.0.0.1', port, socketPath: null };
  const client = new ServerClient(address, { connections: 1, limitBytes: 64 * 1_048_576, throttle });
  return { client, throttle };
}

/** Writes a piece again and again for as long as it is taken. */
function flood(socket: Socket, piece: string) {
  const block = Buffer.from(piece.repeat(Math.ceil(65_536 / piece.length)));
  const write = () => {
    while (!socket.destroyed && socket.write(block));
    socket.once('drain', write);
  };
  write();
}

test.for([
  ['answers of 103', '', 'HTTP/1.1 103 Early Hints\r\n\r\n'],
  ['pieces of a byte', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n', '1\r\na\r\n'],
])('a server that sends %s without end is read no faster than its budget', async ([, head = '', piece = '']) => {
  const { client, throttle } = await served((socket) => {
    socket.write(head);
    flood(socket, piece);
  });
  let pauses = 0;
  throttle.add({ pause: () => pauses++, resume: () => {} });
  const stop = new AbortController();
  const web = { ...call, http: { method: 'GET', url: '/' }, chunks: { take: () => null } };
  const running = client.call(web, stop.signal);
  running.catch(() => {});
  await waitFor(() => pauses >= 2, { what: 'a second pause: it goes on after the first' });
  expect([...sockets].some((socket) => socket.writableNeedDrain)).toBe(true);
  stop.abort(new Error('enough'));
  await expect(running).rejects.toThrow('enough');
  await client.close();
});

test('a body is not held back by what it weighs, over one connection after the other', async () => {
  const body = Buffer.alloc(16 * 1_048_576, 'a');
  const { client } = await served((socket) => {
    socket.on('data', () => socket.end());
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`);
    socket.write(body);
  });
  for (let i = 0; i < 3; i++) {
    const result = await client.call(call, new AbortController().signal);
    expect(result).toMatchObject({ ok: true });
    if (result.ok) expect(result.body.length).toBe(body.length);
  }
  await client.close();
});
