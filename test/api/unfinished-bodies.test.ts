import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { cutOff } from '../../apps/api/src/http/slow-readers.ts';
import { UnfinishedBodies } from '../../apps/api/src/http/unfinished-bodies.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { startApi, type TestApi } from './support/api.ts';

const LIMIT = 1000;

/** A body that comes when the test says so. */
function body(headers: Record<string, string> = {}) {
  const stream = new PassThrough();
  return { stream, payload: Object.assign(stream, { headers }) as unknown as IncomingMessage };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('bodies that are not whole', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }));
  afterEach(() => void vi.useRealTimers());

  it('are read whole, and are nothing any more then', async () => {
    const bodies = new UnfinishedBodies({ requests: 2, bytes: 100, bytesPerS: 1 });
    const { stream, payload } = body();
    const read = bodies.read(payload, LIMIT);
    stream.write('a');
    await turn();
    expect([bodies.count, bodies.heldBytes]).toEqual([1, 1]);
    stream.end('b');
    expect((await read).toString()).toBe('ab');
    expect([bodies.count, bodies.heldBytes, bodies.givenUp]).toEqual([0, 0, 0]);
  });

  it('may be so many, and so large together', async () => {
    const bodies = new UnfinishedBodies({ requests: 2, bytes: 100, bytesPerS: 0 });
    const [first, second, third] = [body(), body(), body()];
    const reading = [first, second].map(({ payload }) => bodies.read(payload, LIMIT).catch((error) => error.code));
    await expect(bodies.read(third.payload, LIMIT)).rejects.toMatchObject({ code: 'TOO_MANY_UNFINISHED' });
    first.stream.write('x'.repeat(90));
    await turn();
    second.stream.write('x'.repeat(20));
    expect(await reading[1], 'the newest, where none had time enough').toBe('TOO_MANY_UNFINISHED');
    expect([bodies.count, bodies.heldBytes]).toEqual([1, 90]);
    vi.advanceTimersByTime(5000);
    const late = bodies.read(third.payload, LIMIT);
    third.stream.end('x'.repeat(20));
    expect(await reading[0], 'the slowest').toBe('REQUEST_TIMEOUT');
    expect((await late).length).toBe(20);
    expect([bodies.count, bodies.heldBytes, bodies.givenUp]).toEqual([0, 0, 3]);
  });

  it('may be one of any size where it is alone', async () => {
    const bodies = new UnfinishedBodies({ requests: 2, bytes: 100, bytesPerS: 0 });
    const { stream, payload } = body();
    const read = bodies.read(payload, LIMIT);
    stream.end('x'.repeat(500));
    expect((await read).length).toBe(500);
    const large = body();
    const refused = bodies.read(large.payload, LIMIT);
    large.stream.write('x'.repeat(LIMIT + 1));
    await expect(refused).rejects.toMatchObject({ code: 'FST_ERR_CTP_BODY_TOO_LARGE' });
    expect(bodies.heldBytes).toBe(0);
  });

  it('have a least pace', async () => {
    const bodies = new UnfinishedBodies({ requests: 5, bytes: 1e6, bytesPerS: 10 });
    const [slow, fast] = [body(), body()];
    const reading = [slow, fast].map(({ payload }) => bodies.read(payload, LIMIT).catch((error) => error.code));
    slow.stream.write('x'.repeat(50));
    fast.stream.write('x'.repeat(200));
    await turn();
    vi.advanceTimersByTime(9000);
    expect(bodies.count).toBe(2);
    vi.advanceTimersByTime(3000);
    expect(bodies.count).toBe(1);
    expect(await reading[0]).toBe('REQUEST_TIMEOUT');
    fast.stream.end();
    expect((await reading[1]).length).toBe(200);
  });

  it('that are passed on are given up where nothing comes, and not while nobody takes them', async () => {
    const bodies = new UnfinishedBodies({ requests: 5, bytes: 1000, bytesPerS: 10 });
    const { stream, payload } = body();
    const pieces = bodies.passOn(payload, 100);
    stream.write('a');
    expect(String((await pieces.next()).value)).toBe('a');
    expect([bodies.count, bodies.heldBytes]).toEqual([1, 100]);
    vi.advanceTimersByTime(60_000);
    const next = pieces.next();
    vi.advanceTimersByTime(12_000);
    await expect(next).rejects.toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect([bodies.count, bodies.heldBytes]).toEqual([0, 0]);
  });
});

describe('answers that nobody takes', () => {
  const reader = (waiting: number, moved: number) => {
    const socket = {
      writableLength: waiting,
      bytesWritten: waiting + moved,
      destroyed: false,
      destroy: () => {
        socket.destroyed = true;
      },
    };
    return socket;
  };

  it('go where there are too many, the largest first, and those that are taken stay', () => {
    const [moving, large, small] = [reader(800_000, 1), reader(900_000, 0), reader(500_000, 0)];
    const all = new Map([moving, large, small].map((socket) => [socket, { written: 0, movedAt: 0 }]));
    cutOff(all, 1_500_000, 2000);
    expect([moving, large, small].map(({ destroyed }) => destroyed)).toEqual([false, true, false]);
  });

  it('go after a minute in any case, but for a stream that is held back', () => {
    const [stalled, held] = [reader(300_000, 0), reader(100_000, 0)];
    const all = new Map([stalled, held].map((socket) => [socket, { written: 0, movedAt: 0 }]));
    cutOff(all, 1e9, 59_000);
    expect(stalled.destroyed).toBe(false);
    cutOff(all, 1e9, 61_000);
    expect([stalled.destroyed, held.destroyed]).toEqual([true, false]);
  });
});

describe('those who take a large answer that was written at once', () => {
  it('stay as long as they take it, and go where they stop', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const reader = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
    reader.on('error', () => undefined);
    const [writer] = (await once(server, 'connection')) as [Socket];
    try {
      writer.on('error', () => undefined);
      const all = new Map([[writer, { written: 0, movedAt: 0, waited: false }]]);
      const look = () => cutOff(all, 1_000_000, 1000);
      writer.write(Buffer.alloc(200_000_000));
      look();
      expect(writer.destroyed, 'it has only begun').toBe(false);
      for (let i = 0; i < 3; i++) {
        const before = reader.bytesRead;
        reader.resume();
        await waitFor(() => reader.bytesRead > before + 4_000_000);
        reader.pause();
        expect(writer.writableLength).toBeGreaterThan(1_000_000);
        look();
        expect(writer.destroyed, 'it is being taken').toBe(false);
      }
      // What is between the two is filled up, and then nothing moves.
      await waitFor(() => {
        look();
        return writer.destroyed;
      });
    } finally {
      reader.destroy();
      writer.destroy();
      server.close();
    }
  });
});

describe('an API that is sent bodies slowly', () => {
  let redis: TestRedis;
  let api: TestApi;
  const sockets: Socket[] = [];
  beforeAll(async () => {
    redis = await startRedis();
    api = await startApi({
      url: redis.url,
      deps: { unfinished: { requests: 20, bytes: 1_048_576, bytesPerS: 0 }, payloadLimitBytes: 524_288 },
    });
    await api.app.listen({ host: '127.0.0.1', port: 0 });
  });
  afterAll(async () => {
    for (const socket of sockets) socket.destroy();
    await api.close();
    await redis.close();
  });

  /** Sends a part of a body, and gives the answer's first line when there is one. */
  function send(path: string, bytes: number, of: number): Promise<string> {
    const { port } = api.app.server.address() as { port: number };
    const socket = connect(port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write(
      `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: a/b\r\ncontent-length: ${of}\r\n\r\n`,
    );
    socket.write(Buffer.alloc(bytes));
    return once(socket, 'data').then(([data]) => String(data));
  }

  it('holds so much of them and no more, and says so', async () => {
    await api.deploy('slow');
    const answers: string[] = [];
    for (let i = 0; i < 10; i++) {
      void send('/v1/artifacts/slow/invoke', 400_000, 500_000).then((answer) => answers.push(answer));
    }
    await waitFor(() => answers.length === 8, { what: 'eight to be refused' });
    expect(api.deps.unfinished.count).toBe(2);
    expect(api.deps.unfinished.heldBytes).toBeLessThanOrEqual(1_048_576);
    for (const answer of answers) {
      expect(answer).toMatch(/^HTTP\/1\.1 503 /);
      expect(answer).toContain('"code":"TOO_MANY_UNFINISHED"');
      expect(answer.toLowerCase()).toContain('retry-after: 1');
    }
  });
});
