import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LogLines } from '../../apps/up/src/log-lines.ts';

function linesOf(...chunks: Buffer[]): string[] {
  const lines: string[] = [];
  const splitter = new LogLines((line) => lines.push(line));
  for (const chunk of chunks) splitter.write(chunk);
  splitter.end();
  return lines;
}

it('makes the same lines wherever the pipe cuts them', () => {
  const text = fc.array(fc.string({ unit: 'grapheme', maxLength: 20 }).map((line) => line.replace(/[\r\n]/g, '')));
  fc.assert(
    fc.property(text, fc.array(fc.nat(200)), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
      const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const chunks = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
      expect(linesOf(...chunks)).toEqual(lines);
    }),
  );
});

it('keeps a last line that has no end', () => {
  expect(linesOf(Buffer.from('one\ntwo'))).toEqual(['one', 'two']);
});

it('takes the lines of Windows as well', () => {
  expect(linesOf(Buffer.from('one\r\ntwo\r\n'))).toEqual(['one', 'two']);
});

it('cuts a line that never ends', () => {
  const lines = linesOf(...Array.from({ length: 5 }, () => Buffer.alloc(50_000, 'x')));
  expect(lines.map((line) => line.length)).toEqual([65_536, 65_536, 65_536, 53_392]);
});
