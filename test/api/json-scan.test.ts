import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJsonBody } from '../../apps/api/src/http/json-body.ts';
import { findJsonFault } from '../../apps/api/src/http/json-fault.ts';
import { findExcess } from '../../apps/api/src/http/json-scan.ts';

const MIB = 1_048_576;
const many = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => text(i)).join(',');

describe('a JSON body that costs more than any of ours', () => {
  it.each([
    ['a million fields', `{${many(100_000, (i) => `"k${i}":1`)}}`, 'values'],
    ['a million items', `[${many(100_000, () => '""')}]`, 'values'],
    ['arrays in an array', `[${many(100_000, () => '[]')}]`, 'values'],
    ['objects in an array', `[${many(100_000, () => '{}')}]`, 'values'],
    ['one field again and again', `{${many(100_000, () => '"a":1')}}`, 'values'],
    ['depth', '['.repeat(100_000), '64 deep'],
    ['depth of objects', '{"a":'.repeat(100_000), '64 deep'],
    ['a number', `[${'9'.repeat(MIB)}]`, '400 characters'],
    ['a word', 'x'.repeat(MIB), '400 characters'],
    ['a text', `"${'x'.repeat(7 * MIB)}"`, 'bytes'],
    ['a text of quotes', `"${'\\"'.repeat(3.5 * MIB)}"`, 'bytes'],
    ['a text without an end', `"${'x'.repeat(7 * MIB)}`, 'bytes'],
    ['texts', `[${many(8, () => `"${'x'.repeat(MIB / 2)}"`)}]`, 'beside its largest'],
    ['space', `[${' '.repeat(2 * MIB)}]`, 'outside of its texts'],
  ])('is refused for %s before it is parsed', (_what, text, why) => {
    expect(findExcess(Buffer.from(text))).toContain(why);
    expect(() => parseJsonBody(Buffer.from(text))).toThrow('The request is not valid: /body ');
  });

  it('is no other one', () => {
    const inline = '\\u0041'.repeat(MIB);
    const env = many(256, (i) => `"K${i}":"${'x'.repeat(4000)}"`);
    const spec = `{"code":{"inline":"${inline}"},"env":{${env}},"command":[${many(256, () => '"\\"[{,:"')}]}`;
    expect(findExcess(Buffer.from(spec))).toBe(null);
    expect(findExcess(Buffer.from(JSON.stringify(JSON.parse(spec), null, 8)))).toBe(null);
  });

  it('counts nothing that stands in a text', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.string({ unit: 'binary' }), (value, text) => {
        const odd = `${text}\\"[{,${'['.repeat(100)}\\`;
        expect(findExcess(Buffer.from(JSON.stringify({ value, [odd]: [odd] })))).toBe(null);
      }),
    );
  });

  it('may be anything: the look at it ends', () => {
    const piece = fc.constantFrom('"', '\\', '[', '{', ']', '}', ',', ':', ' ', '1', 'a');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 200 }), (pieces) => {
        const text = pieces.join('');
        const found = findExcess(Buffer.from(text));
        expect(found === null || typeof found === 'string').toBe(true);
      }),
    );
  });
});

describe('the place of a fault', () => {
  it('is found in a text of any number of escapes', () => {
    const text = `{"a":"${'\\u0041'.repeat(900_000)}`;
    expect(findJsonFault(text)).toMatchObject({ position: 5, line: 1, column: 6 });
    expect(findJsonFault(`{"a":"${'\\n'.repeat(900_000)}",\n\n x}`)).toMatchObject({ line: 3, column: 2 });
  });
});
