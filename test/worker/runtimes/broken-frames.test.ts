import { describe, expect, test } from 'vitest';
import { callNumber } from '../../../apps/worker/src/runtimes/contract/call-number.ts';
import type { Call, LogLine } from '../../../apps/worker/src/runtimes/contract/runtime.ts';
import {
  encodeFrame,
  FRAME_TYPES,
  type FrameType,
  frameHead,
} from '../../../apps/worker/src/runtimes/protocols/handler/frames.ts';
import { HandlerInstance } from '../../../apps/worker/src/runtimes/protocols/handler/handler-instance.ts';
import { fill } from '../../conformance/snapshots.ts';
import { waitFor } from '../../support/wait-for.ts';
import { FakeProcess } from '../support/fake-process.ts';

/** An instance that runs a call, and the number that the call has there. */
async function calling(more: Partial<Call> = {}) {
  const fake = new FakeProcess();
  const version = fill({ runtime: 'process', language: 'node', entry: 'index.mjs', limits: { outputMiB: 1 } });
  const runnable = { namespace: 'default', version, codeDirectory: null, layers: [] };
  const instance = new HandlerInstance('i', runnable, fake.launched);
  const lines: LogLine[] = [];
  const call = instance.call({ ...aCall, log: { write: (line) => lines.push(line) }, ...more });
  call.catch(() => {});
  await waitFor(() => fake.received.length > 0, { what: 'the call' });
  const id = fake.received[0]?.meta.id as number;
  return { fake, instance, call, id, lines };
}

const aCall: Call = {
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
const web = { http: { method: 'GET', url: '/' }, chunks: { take: () => null } };

type Running = Awaited<ReturnType<typeof calling>>;

/** A frame with meta as it is given, also where that is no JSON. */
function raw(type: number, meta: string | Buffer, payload: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.from(meta as string);
  const head = Buffer.alloc(9);
  head.writeUInt32BE(5 + bytes.length + payload.length, 0);
  head[4] = type;
  head.writeUInt32BE(bytes.length, 5);
  return Buffer.concat([head, bytes, payload]);
}

const { LOG, RESULT, ERROR, HEAD, CHUNK, PROGRESS, READY, PONG } = FRAME_TYPES;
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
const json = (type: FrameType, meta: unknown, payload?: Buffer) => encodeFrame(type, meta, payload);

describe('what no function may send ends its instance, and its call as the failure of the function:', () => {
  test.for<[string, (running: Running) => Buffer, Partial<Call>?]>([
    ['text that has a toString', ({ id }) => json(LOG, { id, text: { toString: null, valueOf: null } })],
    ['text that is a list', ({ id }) => json(LOG, { id, text: ['a'] })],
    ['text that is a number', ({ id }) => json(LOG, { id, text: 1e308 })],
    ['an id with a valueOf', () => json(LOG, { id: { valueOf: null }, text: '' })],
    ['an id that is text', ({ id }) => json(RESULT, { id: String(id), contentType: 'text/plain' })],
    ['an id below 0', () => json(RESULT, { id: -1, contentType: 'text/plain' })],
    ['an id that is no whole number', ({ id }) => json(RESULT, { id: id + 0.5, contentType: 'text/plain' })],
    ['an id beyond all numbers', () => raw(RESULT, '{"id":1e400}')],
    ['no id', () => json(ERROR, { code: 'FUNCTION_FAILED' })],
    ['an id of the prototype alone', ({ id }) => raw(RESULT, `{"__proto__":{"id":${id}}}`)],
    ['a content type that is none', ({ id }) => json(RESULT, { id, contentType: { toString: null } })],
    ['a head that is none', ({ id }) => json(RESULT, { id, contentType: 'a/b', head: { status: '200' } })],
    [
      'a head with a list as value',
      ({ id }) => json(HEAD, { id, head: { status: 200, headers: [['a', ['b']]] } }),
      web,
    ],
    [
      'a head with a line break',
      ({ id }) => json(HEAD, { id, head: { status: 200, headers: [['a', 'b\nc: d']] } }),
      web,
    ],
    ['a head where none is due', ({ id }) => json(HEAD, { id, head: { status: 200, headers: [] } })],
    ['chunks before the head', ({ id }) => json(CHUNK, { id }, Buffer.from([0, 0, 0, 0, 3])), web],
    ['chunks where none are due', ({ id }) => json(CHUNK, { id }, Buffer.from([0, 0, 0, 0, 3]))],
    ['half a chunk', ({ id }) => json(CHUNK, { id }, Buffer.from([0, 0, 0, 9, 3, 1])), { chunks: web.chunks }],
    [
      'a chunk of an unknown kind',
      ({ id }) => json(CHUNK, { id }, Buffer.from([0, 0, 0, 0, 5])),
      { chunks: web.chunks },
    ],
    ['output of no stream', () => json(LOG, { stream: { toString: null } }, Buffer.from('text'))],
    ['progress that is not JSON', ({ id }) => json(PROGRESS, { id }, Buffer.from('{'))],
    ['progress that is not UTF-8', ({ id }) => json(PROGRESS, { id }, Buffer.from([0x22, 0xff, 0x22]))],
    ['progress without end within itself', ({ id }) => json(PROGRESS, { id }, Buffer.from(nested(8000)))],
    ['more progress than there may be', ({ id }) => json(PROGRESS, { id }, Buffer.from(`"${'a'.repeat(17_000)}"`))],
    ['meta that is a list', () => raw(RESULT, '[]')],
    ['meta that is null', () => raw(LOG, 'null')],
    ['meta that is no JSON', () => raw(LOG, '{"id":1,')],
    ['no meta', () => raw(LOG, '')],
    [
      'meta that is not UTF-8',
      ({ id }) => raw(LOG, Buffer.from([...Buffer.from(`{"id":${id},"text":"`), 0xc3, 0x22, 0x7d])),
    ],
    ['meta of a mebibyte', ({ id }) => json(LOG, { id, text: 'a'.repeat(1_048_576) })],
    ['meta that is nothing but brackets', () => raw(LOG, `{"id":${nested(400_000)}}`)],
    ['an answer to nothing', () => json(PONG, {})],
    ['a frame of ours', () => json(FRAME_TYPES.CALL, { id: 1 })],
    ['a frame of an unknown type', () => raw(99, '{}')],
    ['a frame of type 0', () => raw(0, '{}')],
    ['what is no frame', () => Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('%s', async ([, make, more]) => {
    const running = await calling(more);
    running.fake.channel.write(make(running));
    const result = await running.call;
    expect(result).toMatchObject({
      ok: false,
      error: {
        code: 'FUNCTION_FAILED',
        message: expect.stringMatching(
          /^The function broke the protocol of its channel \(fd 3\), and its instance was ended: /,
        ),
        details: { type: 'Protocol' },
      },
    });
    expect(running.fake.wasTerminated).toBe(true);
    expect(running.instance.reusable).toBe(false);
    await running.instance.ended;
  });

  test('a throw of whoever takes what was sent', async () => {
    const broken = () => {
      throw new RangeError('Maximum call stack size exceeded');
    };
    const error = { code: 'FUNCTION_FAILED', message: expect.stringContaining('Maximum call stack size exceeded') };
    for (const [more, make] of [
      [{ log: { write: broken } }, ({ id }: Running) => json(LOG, { id, text: 'text' })],
      [{ log: { write: broken } }, () => json(LOG, { stream: 'stdout' }, Buffer.from('line\n'))],
      // No line before the call is over.
      [
        { log: { write: broken } },
        ({ id }: Running) =>
          Buffer.concat([
            json(LOG, { stream: 'stdout' }, Buffer.from('line')),
            json(RESULT, { id, contentType: 'text/plain' }),
          ]),
      ],
      [{ progress: broken }, ({ id }: Running) => json(PROGRESS, { id }, Buffer.from('1'))],
      [{ chunks: { take: broken } }, ({ id }: Running) => json(CHUNK, { id }, Buffer.from([0, 0, 0, 0, 3]))],
      [
        { chunks: { take: () => Promise.reject(new RangeError('Maximum call stack size exceeded')) } },
        ({ id }: Running) => json(CHUNK, { id }, Buffer.from([0, 0, 0, 0, 3])),
      ],
    ] as const) {
      const running = await calling(more);
      running.fake.channel.write(make(running));
      expect(await running.call).toMatchObject({ ok: false, error });
      await running.instance.ended;
    }
  });

  test('a throw of whoever takes what was printed', async () => {
    const running = await calling({
      log: {
        write: () => {
          throw new Error('no line');
        },
      },
    });
    running.fake.stdout.write('line\n');
    expect(await running.call).toMatchObject({ ok: false, error: { code: 'FUNCTION_FAILED' } });
    expect((await running.instance.ended).lastOutput).toContain('line');
  });
});

describe('what is odd and harms nobody is taken for what it is:', () => {
  const finish = async ({ fake, call, id }: Running) => {
    fake.channel.write(json(RESULT, { id, contentType: 'text/plain' }, Buffer.from('result')));
    expect(await call).toMatchObject({ ok: true, body: Buffer.from('result') });
    expect(fake.wasTerminated).toBe(false);
  };

  test('answers of calls that there are not, before that of the one that runs', async () => {
    const running = await calling();
    const { fake, id } = running;
    for (const other of [0, id + 1, id - 1, Number.MAX_SAFE_INTEGER]) {
      if (other === id || other < 0) continue;
      fake.channel.write(json(RESULT, { id: other, contentType: 'text/plain' }, Buffer.from('forged')));
      if (other !== 0) fake.channel.write(json(ERROR, { id: other, code: 'FUNCTION_FAILED', fatal: true }));
      fake.channel.write(json(CHUNK, { id: other }, Buffer.from('no chunk')));
      fake.channel.write(json(HEAD, { id: other, head: { status: 200, headers: [] } }));
    }
    fake.channel.write(json(READY, { interpreter: { toString: null } }));
    await finish(running);
    expect(running.instance.reusable).toBe(true);
  });

  test('a second result', async () => {
    const running = await calling();
    const { fake, id } = running;
    const result = json(RESULT, { id, contentType: 'text/plain' }, Buffer.from('result'));
    fake.channel.write(
      Buffer.concat([result, json(RESULT, { id, contentType: 'a/b' }, Buffer.from('second')), result]),
    );
    expect(await running.call).toMatchObject({ ok: true, body: Buffer.from('result') });
    fake.channel.write(result);
    fake.channel.write(json(FRAME_TYPES.PONG, {}));
    await running.instance.ended;
  });

  test('levels, fields and types that are none', async () => {
    const running = await calling();
    const { fake, id, lines } = running;
    for (const [level, fields] of [
      [{ toString: null }, 1],
      [['warn'], [1, 2]],
      ['__proto__', JSON.parse('{"__proto__":{"a":1},"toString":null}')],
      ['warn', JSON.parse(nested(1000))],
    ]) {
      fake.channel.write(json(LOG, { id, level, text: 'a \ud800', fields }));
    }
    await finish(running);
    expect(lines.map(({ level, text, fields }) => [level, text, JSON.stringify(fields)])).toEqual([
      ['info', 'a \ufffd', undefined],
      ['info', 'a \ufffd', '{"values":[1,2]}'],
      ['info', 'a \ufffd', '{"__proto__":{"a":1},"toString":null}'],
      ['warn', 'a \ufffd', '{"cut":"too deep"}'],
    ]);
  });

  test('a content type that no header may have', async () => {
    for (const contentType of ['text/plain\r\nset-cookie: a=b', 'a'.repeat(300), '', '\u0000', 'ä/ö']) {
      const { fake, call, id } = await calling();
      fake.channel.write(json(RESULT, { id, contentType }, Buffer.from('x')));
      expect(await call).toMatchObject({ ok: true, contentType: 'application/octet-stream' });
    }
  });

  test('an error of which every field is something else', async () => {
    const odd = { toString: null, valueOf: null };
    for (const status of [odd, 1e308, -1, 0.5, '500', null]) {
      const { fake, call, id } = await calling();
      fake.channel.write(
        json(ERROR, { id, code: odd, type: odd, message: odd, stack: odd, body: odd, cause: odd, status }),
      );
      expect(await call).toMatchObject({ ok: false, error: { code: 'FUNCTION_FAILED', details: { type: '' } } });
    }
  });
});

describe('what an instance may have begun to send', () => {
  const begun = (type: FrameType, meta: unknown, bytes: number) => frameHead(type, meta, bytes);

  test('is refused at its head where it is larger than the result may be', async () => {
    const { fake, call, id } = await calling();
    fake.channel.write(begun(RESULT, { id, contentType: 'a/b' }, 2 * 1_048_576));
    await expect(call).rejects.toMatchObject({ code: 'OUTPUT_TOO_LARGE' });
  });

  test.for<[string, FrameType, number]>([
    ['a record', LOG, 600_000],
    ['chunks', CHUNK, 2 * 1_048_576],
    ['progress', PROGRESS, 20_000],
    ['a head', HEAD, 600_000],
    ['an error', ERROR, 600_000],
    ['that it is ready', READY, 600_000],
  ])('is refused at its head, as any of its kind is: %s', async ([, type, bytes]) => {
    const { fake, call, id } = await calling();
    fake.channel.write(begun(type, { id }, bytes));
    expect(await call).toMatchObject({
      ok: false,
      error: { code: 'FUNCTION_FAILED', message: expect.stringContaining('larger than it may be') },
    });
  });

  test('may be as large as a result while a call runs, and little once its result is there', async () => {
    const { fake, instance, call, id } = await calling();
    fake.channel.write(json(READY, {}));
    const half = Buffer.concat([begun(RESULT, { id, contentType: 'a/b' }, 1_048_576), Buffer.alloc(1_000_000)]);
    fake.channel.write(half);
    fake.channel.write(Buffer.alloc(48_576));
    // With the result, in one piece, comes the half of another.
    fake.channel.write(half);
    expect(await call).toMatchObject({ ok: true });
    await instance.ended;
    expect(fake.wasTerminated).toBe(true);
  });

  test('is of output between calls: what is printed, and no more', async () => {
    const { fake, instance, call, id } = await calling();
    fake.channel.write(json(READY, {}));
    fake.channel.write(json(RESULT, { id, contentType: 'a/b' }));
    await call;
    fake.channel.write(json(LOG, { stream: 'stdout', level: 'info' }, Buffer.alloc(64 * 1024, 'a')));
    expect(await instance.check(0)).toBe(false);
    expect(instance.reusable).toBe(true);
    fake.channel.write(begun(LOG, { stream: 'stdout', level: 'info' }, 80 * 1024));
    await instance.ended;
    expect(fake.wasTerminated).toBe(true);
  });
});

describe('the number of a call', () => {
  test('is no sequel to those before it, and no other is taken for it', async () => {
    const seen = new Set<number>();
    const { fake, instance, call, id } = await calling();
    fake.channel.write(json(RESULT, { id, contentType: 'a/b' }));
    await call;
    seen.add(id);
    for (let i = 1; i <= 20; i++) {
      const next = instance.call(aCall);
      await waitFor(() => fake.received.length > i);
      const number = fake.received[i]?.meta.id as number;
      for (const before of seen) {
        for (let away = -100; away <= 100; away++) expect(number).not.toBe(before + away);
        // What a call before it has left behind answers with what it knows, and what it can make of that.
        for (const forged of [before, before + 1, i + 1]) {
          fake.channel.write(json(RESULT, { id: forged, contentType: 'a/b' }, Buffer.from('forged')));
          fake.channel.write(json(ERROR, { id: forged, code: 'FUNCTION_FAILED', message: 'forged' }));
        }
      }
      seen.add(number);
      fake.channel.write(json(RESULT, { id: number, contentType: 'a/b' }, Buffer.from('real')));
      expect(await next).toMatchObject({ ok: true, body: Buffer.from('real') });
    }
    expect(instance.reusable).toBe(true);
  });

  test('is spread over all that there are, and is none that is in use', () => {
    const numbers = Array.from({ length: 2000 }, () => callNumber());
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.every((number) => Number.isSafeInteger(number) && number > 0)).toBe(true);
    // By chance one in 2^2000 times.
    expect(Math.max(...numbers)).toBeGreaterThan(2 ** 47);
    expect(Math.min(...numbers)).toBeLessThan(2 ** 47);
    const taken = new Set([1, 3]);
    expect(callNumber(4, (id) => taken.has(id))).toBe(2);
  });
});
