import { PassThrough, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { demultiplex } from '../../../../apps/worker/src/runtimes/docker/demultiplexer.ts';
import { waitFor } from '../../../support/wait-for.ts';

function frame(stream: 1 | 2, content: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(content.length, 4);
  return Buffer.concat([head, content]);
}

test('what was printed comes out whole and in order, however it was cut on its way', async () => {
  const printed = fc.array(fc.tuple(fc.constantFrom<1 | 2>(1, 2), fc.string({ maxLength: 50 })), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(printed, fc.integer({ min: 1, max: 40 }), async (pieces, step) => {
      const source = new PassThrough();
      const { stdout, stderr } = demultiplex(source);
      const read = Promise.all([text(stdout), text(stderr)]);
      const all = Buffer.concat(pieces.map(([stream, piece]) => frame(stream, Buffer.from(piece))));
      for (let at = 0; at < all.length; at += step) source.write(all.subarray(at, at + step));
      source.end();
      const of = (wanted: 1 | 2) =>
        pieces
          .filter(([stream]) => stream === wanted)
          .map(([, piece]) => piece)
          .join('');
      expect(await read).toEqual([of(1), of(2)]);
    }),
    { numRuns: 50 },
  );
});

test('nothing is read ahead of whoever reads slowly, and the other stream waits with it', async () => {
  const source = new PassThrough({ highWaterMark: 64 * 1024 });
  const { stdout, stderr } = demultiplex(source);
  const piece = frame(1, Buffer.alloc(32 * 1024, 'x'));
  let accepted = 0;
  while (source.write(piece) || accepted < 4) accepted++;
  await waitFor(() => source.isPaused());
  const held = (stream: Readable) => stream.readableLength;
  expect(held(stdout)).toBeLessThan(256 * 1024);
  expect(held(stderr)).toBe(0);
  stdout.resume();
  stderr.resume();
  await waitFor(() => source.readableLength === 0 && held(stdout) === 0);
});

test('both streams end where the connection breaks', async () => {
  const source = new PassThrough();
  const { stdout, stderr } = demultiplex(source);
  source.write(frame(2, Buffer.from('last words')));
  await waitFor(() => stderr.readableLength > 0);
  source.destroy();
  expect(await Promise.all([text(stdout), text(stderr)])).toEqual(['', 'last words']);
});
