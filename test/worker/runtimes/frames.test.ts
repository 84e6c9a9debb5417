import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BadFrame,
  encodeFrame,
  FRAME_TYPES,
  FrameReader,
  frameHead,
  parseMeta,
} from '../../../apps/worker/src/runtimes/protocols/handler/frames.ts';

const anyFrame = fc.record({
  type: fc.constantFrom(...Object.values(FRAME_TYPES)),
  meta: fc.dictionary(fc.string(), fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean())),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

describe('frames', () => {
  test('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 64 })), (frames, cuts) => {
        const wire = Buffer.concat(frames.map(({ type, meta, payload }) => encodeFrame(type, meta, payload)));
        const reader = new FrameReader(() => 1_000_000);
        const read = [];
        for (let at = 0, turn = 0; at < wire.length; turn++) {
          const size = cuts[turn % Math.max(1, cuts.length)] ?? wire.length;
          read.push(...reader.push(wire.subarray(at, at + size)));
          at += size;
        }
        expect(read.map((f) => ({ type: f.type, meta: parseMeta(f), payload: Buffer.from(f.payload) }))).toEqual(
          frames.map(({ meta, ...rest }) => ({ ...rest, meta: JSON.parse(JSON.stringify(meta)) })),
        );
      }),
    );
  });

  test('a head with its payload behind it is the same as a whole frame', () => {
    const payload = Buffer.from('payload');
    const meta = { id: 1, text: 'grüße' };
    const apart = Buffer.concat([frameHead(FRAME_TYPES.CALL, meta, payload.length), payload]);
    expect(apart).toEqual(encodeFrame(FRAME_TYPES.CALL, meta, payload));
  });

  test('a frame that is larger than its type may be is refused before it is kept', () => {
    const reader = new FrameReader((type) => (type === FRAME_TYPES.RESULT ? 1000 : 100));
    const head = frameHead(FRAME_TYPES.LOG, {}, 4_000_000_000);
    expect(() => [...reader.push(head)]).toThrowError(
      expect.objectContaining({ type: FRAME_TYPES.LOG, tooLarge: true }),
    );
  });

  test('what is not a frame is refused', () => {
    const bad = (bytes: Buffer) => () => [...new FrameReader((t) => (t === 4 ? 1e9 : 0)).push(bytes)];
    expect(bad(Buffer.from('GET / HTTP/1.1\r\n\r\n'))).toThrow(BadFrame);
    // Meta that is longer than its frame.
    expect(bad(Buffer.from([0, 0, 0, 6, 4, 0, 0, 0, 9, 1]))).toThrow(BadFrame);
    for (const meta of ['[1]', 'null', '{"a":', '7']) {
      const frame = { type: 4, meta: Buffer.from(meta), payload: Buffer.alloc(0) };
      expect(() => parseMeta(frame)).toThrow(BadFrame);
    }
  });

  test('no garbage makes a reader do anything but read or refuse', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), (chunks) => {
        const reader = new FrameReader(() => 10_000);
        try {
          for (const chunk of chunks) for (const frame of reader.push(Buffer.from(chunk))) parseMeta(frame);
        } catch (error) {
          expect(error).toBeInstanceOf(BadFrame);
        }
      }),
    );
  });
});
