import { setImmediate as nextTurn } from 'node:timers/promises';

/** Bytes to validate before other requests get their turn. */
const SLICE = 256 * 1024;
/** Deepest nesting: readers of the payload could not parse more. */
const MOST_DEPTH = 10_000;

const NUMBER_OR_WORD = /^(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)$/;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACES: readonly (number | undefined)[] = [0x20, 0x09, 0x0a, 0x0d];
const ESCAPES = new Set(Buffer.from('"\\/bfnrt'));

type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'comma or end';

/**
 * Tells whether bytes are one JSON text, without parsing it into values and without blocking other requests: `JSON.parse` can take
 * seconds for some megabytes of empty arrays.
 * @param bytes UTF-8 text
 */
export async function isJson(bytes: Buffer): Promise<boolean> {
  const isObject = new Uint8Array(MOST_DEPTH + 1);
  const { length } = bytes;
  let depth = 0;
  let expected = 'value' as Expected;
  let turnAt = SLICE;
  for (let at = 0; ; ) {
    if (at >= turnAt) {
      turnAt = at + SLICE;
      await nextTurn();
    }
    const byte = bytes[at];
    if (byte === undefined) return expected === 'comma or end' && depth === 0;
    if (SPACES.includes(byte)) {
      at++;
    } else if (expected === 'comma or end') {
      if (depth === 0) return false;
      const inObject = isObject[depth] === 1;
      if (byte === 0x2c) expected = inObject ? 'key' : 'value';
      else if (byte === (inObject ? 0x7d : 0x5d)) depth--;
      else return false;
      at++;
    } else if (expected === 'colon') {
      if (byte !== 0x3a) return false;
      expected = 'value';
      at++;
    } else if ((byte === 0x5d && expected === 'value or ]') || (byte === 0x7d && expected === 'key or }')) {
      depth--;
      expected = 'comma or end';
      at++;
    } else if (byte === QUOTE) {
      expected = expected === 'key' || expected === 'key or }' ? 'colon' : 'comma or end';
      for (at++; bytes[at] !== QUOTE; ) {
        if (at >= turnAt) {
          turnAt = at + SLICE;
          await nextTurn();
        }
        const unit = bytes[at];
        if (unit === undefined || unit < 0x20) return false;
        if (unit !== BACKSLASH) at++;
        else if (ESCAPES.has(bytes[at + 1] ?? 0)) at += 2;
        else if (bytes[at + 1] === 0x75 && /^[0-9a-fA-F]{4}$/.test(bytes.toString('latin1', at + 2, at + 6))) at += 6;
        else return false;
      }
      at++;
    } else if (expected === 'key' || expected === 'key or }') {
      return false;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > MOST_DEPTH) return false;
      isObject[depth] = byte === 0x7b ? 1 : 0;
      expected = byte === 0x7b ? 'key or }' : 'value or ]';
      at++;
    } else {
      const from = at;
      while (at < length && isOfToken(bytes[at] ?? 0)) at++;
      if (!NUMBER_OR_WORD.test(bytes.toString('latin1', from, at))) return false;
      expected = 'comma or end';
    }
  }
}

/** Tells whether a byte may be part of a JSON number or word: a digit, a letter, or one of `+ - .` */
function isOfToken(byte: number): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x45 ||
    byte === 0x2b ||
    byte === 0x2d ||
    byte === 0x2e
  );
}
