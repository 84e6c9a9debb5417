import { describe, expect, it } from 'vitest';
import { readContentType, requireJsonCharset, requireReadable } from '../../apps/api/src/tasks/content-type.ts';

describe('a content type', () => {
  it.each([
    ['text/plain', { essence: 'text/plain', charsets: [] }],
    ['Text/HTML ; Charset="UTF-8" ;', { essence: 'text/html', charsets: ['utf-8'] }],
    ['a/b;x=1;charset=latin1;y="a;b\\"c"', { essence: 'a/b', charsets: ['latin1'] }],
    ['a/b; charset=utf-8; charset=utf-16', { essence: 'a/b', charsets: ['utf-8', 'utf-16'] }],
    ['a/b; charset=""', { essence: 'a/b', charsets: [''] }],
  ])('%j is read', (text, deps) => expect(readContentType(text)).toEqual(deps));

  it.each([
    '',
    ';',
    'text',
    '/',
    'text/',
    '/plain',
    'a/b c',
    'a/b; charset',
    'a/b; charset=',
    'a/b; charset=utf-8,utf-8',
    'a/b; x="y',
    'a/b;x=y z',
  ])('%j is none', (text) => expect(readContentType(text)).toBe(null));

  it('is refused where a handler could not be given what it says', () => {
    for (const [text, what] of [
      ['text/plain; charset=x-nonsense', 'names the charset "x-nonsense"'],
      ['text/plain; charset=hex', 'names the charset "hex"'],
      ['text/plain; charset=""', 'names the charset ""'],
      ['text/plain; charset=', 'is not a well-formed media type'],
      ['text/plain; charset=utf-8,utf-8', 'is not a well-formed media type'],
      ['text/plain; charset=utf-8; charset=utf-8', 'more than once'],
      ['application/json; charset=utf-16', 'JSON is UTF-8'],
      ['application/problem+json; charset=latin1', 'JSON is UTF-8'],
    ] as const) {
      expect(() => requireReadable(text)).toThrow(what);
    }
    for (const text of ['application/json', 'text/plain', 'text/csv; charset=Shift_JIS', 'image/png', 'a/b+json']) {
      expect(() => requireReadable(text)).not.toThrow();
    }
    expect(() => requireJsonCharset('application/json; charset=utf-16')).toThrow('JSON is UTF-8');
    expect(() => requireJsonCharset('application/json; charset="UTF-8"')).not.toThrow();
  });

  it('is named in short where it is long', () => {
    expect(() => requireReadable(`text/plain; charset=${'x'.repeat(10_000)}`)).toThrow(/^.{0,400}$/);
  });
});
