import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isJson } from '../../apps/api/src/tasks/json-validity.ts';

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('whether a text is JSON', () => {
  it('is what JSON.parse says of it', async () => {
    const piece = fc.constantFrom(
      '"',
      '\\',
      '\\u00e4',
      '\\x',
      '[',
      ']',
      '{',
      '}',
      ',',
      ':',
      ' ',
      '\n',
      '1',
      '-',
      '.',
      'e',
      'E+',
      '0',
      'true',
      'null',
      'a',
      '\t',
      '\u0001',
      '€',
      '"a":',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const text = pieces.join('');
        expect(await isJson(Buffer.from(text)), JSON.stringify(text)).toBe(parses(text));
      }),
      { numRuns: 3000 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue(),
        fc.nat(),
        fc.constantFrom('', ',', '}', '"', '0'),
        async (value, place, more) => {
          const text = JSON.stringify(value, null, 1);
          const at = place % (text.length + 1);
          const broken = text.slice(0, at) + more + text.slice(at);
          expect(await isJson(Buffer.from(broken)), broken).toBe(parses(broken));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is found out in many turns where it is large, and of what is very deep it is not', async () => {
    let turns = 0;
    let isOver = false;
    const count = () => {
      turns++;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    expect(await isJson(Buffer.from(`[${'[],'.repeat(1_000_000)}"${'x'.repeat(1_000_000)}"]`))).toBe(true);
    isOver = true;
    expect(turns).toBeGreaterThan(10);
    expect(await isJson(Buffer.from('['.repeat(20_000) + ']'.repeat(20_000)))).toBe(false);
  });
});
