import { FRAME_KINDS } from '@pilum/core/schemas/frame.ts';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TextOrBytes } from '../../apps/worker/src/runtimes/protocols/output/text-or-bytes.ts';

it('text stays text wherever it is cut, and nothing of it is lost', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.array(fc.nat(20)), (text, cuts) => {
      const bytes = Buffer.from(text.toWellFormed());
      const pieces = new TextOrBytes();
      const given = [];
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        given.push(pieces.push(bytes.subarray(at, at + cut)));
        at = Math.min(bytes.length, at + cut);
      }
      given.push(pieces.push(bytes.subarray(at)), pieces.rest());
      const all = given.filter((piece) => piece !== null);
      expect(all.every(({ kind }) => kind === FRAME_KINDS.text)).toBe(true);
      expect(Buffer.concat(all.map(({ payload }) => payload))).toEqual(bytes);
    }),
  );
});

it('any bytes come through as they are', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 8 })), (chunks) => {
      const pieces = new TextOrBytes();
      const given = [...chunks.map((chunk) => pieces.push(Buffer.from(chunk))), pieces.rest()];
      const all = given.filter((piece) => piece !== null).map(({ payload }) => payload);
      expect(Buffer.concat(all)).toEqual(Buffer.concat(chunks));
    }),
  );
});
