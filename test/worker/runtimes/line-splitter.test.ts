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

test('a chunk of nothing but newlines makes a bounded number of lines', () => {
  expect(linesOf([Buffer.alloc(64 * 1024, '\n')]).length).toBeLessThan(10_000);
});

test('a carriage return at the end of a line is dropped', () => {
  expect(linesOf([Buffer.from('a\r\nb\rc\n')])).toEqual(['a', 'b\rc']);
});
