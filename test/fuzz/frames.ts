import fc from 'fast-check';
import type { Call, CallResult, ChunkSink } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { FRAME_TYPES } from '../../apps/worker/src/runtimes/protocols/handler/frames.ts';
import { HandlerInstance } from '../../apps/worker/src/runtimes/protocols/handler/handler-instance.ts';
import { fill } from '../conformance/snapshots.ts';
import { FakeProcess } from '../worker/support/fake-process.ts';

/** What stands in the place of the number of the call that runs, and of another one. */
const OURS = 'ours';
const OTHER = 7;

const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    '',
    [],
    {},
    -1,
    0.5,
    1e308,
    { toString: null, valueOf: null },
    '\u0000',
    '\ud800',
  ),
  fc.jsonValue({ maxDepth: 3 }),
);
const id = fc.oneof({ weight: 6, arbitrary: fc.constant(OURS) }, fc.constantFrom<unknown>(OTHER, 0), odd);
const head = fc.oneof(
  odd,
  fc.record({
    status: fc.oneof(fc.integer({ min: 100, max: 700 }), odd),
    headers: fc.oneof(fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 4 }), odd),
  }),
);
/** Meta as a bootstrap sends it, any field of which may be missing or something else. */
const meta = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record(
      {
        id,
        text: fc.oneof(fc.string({ unit: 'binary' }), odd),
        stream: fc.oneof(fc.constantFrom('stdout', 'stderr'), odd),
        level: fc.oneof(fc.constantFrom('info', 'error'), odd),
        fields: odd,
        contentType: fc.oneof(fc.constantFrom('application/json', 'text/plain'), fc.string(), odd),
        streamed: odd,
        head,
        code: fc.oneof(fc.constantFrom('FUNCTION_FAILED', 'OUT_OF_MEMORY', 'INTERNAL'), odd),
        type: odd,
        message: fc.oneof(fc.string(), odd),
        stack: odd,
        status: fc.oneof(fc.integer(), odd),
        body: odd,
        fatal: odd,
      },
      { requiredKeys: ['id'] },
    ),
  },
  odd,
);
const chunks = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 7 }), fc.uint8Array({ maxLength: 40 })), { maxLength: 5 })
  .map((pieces) => Buffer.concat(pieces.map(([kind, bytes]) => Buffer.from([0, 0, 0, bytes.length, kind, ...bytes]))));
const payload = fc.oneof(
  fc.constant(Buffer.alloc(0)),
  chunks,
  fc.json().map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
);
const frame = fc.record({
  type: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(...Object.values(FRAME_TYPES)) },
    fc.integer({ min: 0, max: 255 }),
  ),
  meta,
  payload,
  /** What is written over it: where from the front, and with what. */
  flips: fc.oneof(
    { weight: 5, arbitrary: fc.constant([]) },
    fc.array(fc.tuple(fc.nat({ max: 60 }), fc.nat({ max: 255 })), { maxLength: 3 }),
  ),
});
const sent = fc.record({
  frames: fc.array(frame, { maxLength: 12 }),
  cuts: fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 6 }),
  isStreamed: fc.boolean(),
  isWeb: fc.boolean(),
});

function encode({ type, meta, payload, flips }: typeof frame extends fc.Arbitrary<infer F> ? F : never, ours: number) {
  const isObject = typeof meta === 'object' && meta !== null && !Array.isArray(meta);
  const named = isObject && (meta as { id?: unknown }).id === OURS ? { ...meta, id: ours } : meta;
  const json = Buffer.from(JSON.stringify(named) ?? '');
  const bytes = Buffer.alloc(9 + json.length + payload.length);
  bytes.writeUInt32BE(5 + json.length + payload.length, 0);
  bytes[4] = type;
  bytes.writeUInt32BE(json.length, 5);
  json.copy(bytes, 9);
  payload.copy(bytes, 9 + json.length);
  for (const [at, byte] of flips) if (at < bytes.length) bytes[at] = byte;
  return bytes;
}

/** Codes of a call whose function sends anything at all. */
const CODES = [
  'FUNCTION_FAILED',
  'OUTPUT_TOO_LARGE',
  'OUT_OF_MEMORY',
  'INSTANCE_LOST',
  'VALIDATION_FAILED',
  'NOT_IMPLEMENTED',
  'INSTANCE_START_FAILED',
];

/** Whatever a function sends in a call, the call has a result or fails as a call may, and nothing is thrown elsewhere. */
export const framesProperty = fc.asyncProperty(sent, async ({ frames, cuts, isStreamed, isWeb }) => {
  const fake = new FakeProcess();
  const version = fill({ runtime: 'process', language: 'node', entry: 'index.mjs', limits: { outputMiB: 1 } });
  const instance = new HandlerInstance(
    'i',
    { namespace: 'default', version, codeDirectory: null, layers: [] },
    fake.launched,
  );
  let taken = 0;
  const sink: ChunkSink = {
    take: ({ bytes }) => {
      taken += bytes.length;
      return null;
    },
  };
  const call: Call = {
    taskId: 't',
    attempt: 1,
    deadlineMs: Date.now() + 60_000,
    contentType: 'application/json',
    payload: Buffer.from('{}'),
    headers: {},
    http: isWeb ? { method: 'GET', url: '/' } : null,
    traceparent: null,
    log: {
      write: (line) => {
        taken += JSON.stringify(line).length;
      },
    },
    chunks: isStreamed || isWeb ? sink : null,
    progress: (json) => {
      taken += JSON.stringify(JSON.parse(json)).length;
    },
    signal: new AbortController().signal,
  };
  const outcome = instance.call(call).then(
    (result): CallResult | { code?: unknown } => result,
    (error: { code?: unknown }) => error,
  );
  while (fake.received.length === 0) await new Promise((resolve) => setImmediate(resolve));
  const ours = fake.received[0]?.meta.id as number;
  const wire = Buffer.concat(frames.map((each) => encode(each, ours)));
  for (let at = 0, turn = 0; at < wire.length && !fake.wasTerminated; turn++) {
    const size = cuts[turn % Math.max(1, cuts.length)] ?? wire.length;
    fake.channel.write(wire.subarray(at, at + size));
    at += size;
    if (turn % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await new Promise((resolve) => setImmediate(resolve));
  // Half a frame, or none of this call: the function ends.
  fake.exit({ exitCode: 1, signal: null });
  const result = await outcome;
  await instance.ended;
  if (Number.isNaN(taken)) throw new Error('what was taken has no size');
  if ('ok' in result && result.ok) {
    if (!/^[\x20-\x7e]{1,255}$/.test(result.contentType)) throw new Error('a content type that is none');
    return;
  }
  const code = 'ok' in result ? result.error.code : result.code;
  if (!CODES.includes(String(code))) throw new Error(`it failed as no call may: ${String(code)}`);
  if ('ok' in result) JSON.stringify(result.error);
});
