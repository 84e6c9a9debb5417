import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LineSplitter, MAX_LINE } from '../../../apps/worker/src/runtimes/protocols/output/line-splitter.ts';

function linesOf(chunks: readonly Buffer[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.flush();
  return lines;
}

test('lines come out whole, however the bytes are cut', () => {
  const text = fc.array(fc.string({ unit: 'grapheme' }).map((line) => line.replace(/[\r\n]/g, '') || 'x'));
  fc.assert(
    fc.property(text, fc.integer({ min: 1, max: 7 }), (lines, size) => {
      const bytes = Buffer.from(lines.join('\n').toWellFormed());
      const chunks = [];
      for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
      expect(linesOf(chunks)).toEqual(lines.map((line) => line.toWellFormed()));
    }),
  );
});

test('a line above the limit is cut once, and the next one is whole', () => {
  const long = Buffer.alloc(10 * MAX_LINE, 'x');
  const lines = linesOf([long, long, Buffer.from('tail\nnext\n')]);
  expect(lines).toHaveLength(2);
  expect(lines[0]).toBe(`${'x'.repeat(MAX_LINE)}… [cut]`);
  expect(lines[1]).toBe('next');
});

test('each line is one, however many of them come at once', () => {
  expect(linesOf([Buffer.alloc(64 * 1024, '\n')])).toEqual(Array(64 * 1024).fill(''));
  const numbers = Array.from({ length: 20_000 }, (_, i) => String(i));
  expect(linesOf([Buffer.from(numbers.join('\n'))])).toEqual(numbers);
});

test('bytes that are no UTF-8, and a character that is cut by the end, take no other line with them', () => {
  expect(linesOf([Buffer.from([0x61, 0xff, 0x0a, 0x62, 0x0a, 0xc3])])).toEqual(['a\ufffd', 'b', '\ufffd']);
});

test('a carriage return at the end of a line is dropped', () => {
  expect(linesOf([Buffer.from('a\r\nb\rc\n')])).toEqual(['a', 'b\rc']);
});
