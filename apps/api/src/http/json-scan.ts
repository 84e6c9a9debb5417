import { MAX_INLINE_CODE } from '@pilum/core/schemas/artifact-spec.ts';

/** Deepest nesting of a body. Checks and serializers recurse, and the stack is limited. */
const MOST_DEPTH = 64;
/** Most values of a body: a spec with everything that its schema allows has a third of it. */
const MOST_VALUES = 2048;
/** Longest string of a body, bytes: the largest inline code with every character escaped. */
const MOST_STRING_BYTES = 6 * MAX_INLINE_CODE + 2;
/** Most bytes of all other strings together: the largest arguments and variables, with non-Latin text escaped. */
const MOST_OTHER_BYTES = 3 * 1_048_576;
/** Most bytes outside of strings: as many values, indented by sixty-four levels, have a quarter of it. */
const MOST_BETWEEN_BYTES = 1_048_576;
/** Longest number or word, bytes. */
const MOST_TOKEN = 400;

/**
 * Finds out, before a text is parsed, whether parsing and checking it would cost more than any valid body does. One pass over
 * the bytes, without allocations; the text may be malformed.
 * @returns the exceeded limit as a clause; null if the text is within all limits
 */
export function findExcess(text: Buffer): string | null {
  let depth = 0;
  let values = 0;
  let token = 0;
  let inStrings = 0;
  let largest = 0;
  const { length } = text;
  for (let at = 0; at < length; at++) {
    switch (text[at]) {
      case 0x22: {
        // A string ends at the first unescaped quote.
        const start = at;
        at = endOfString(text, at + 1);
        if (at - start > MOST_STRING_BYTES) return `has a text of more than ${MOST_STRING_BYTES} bytes`;
        inStrings += at - start;
        largest = Math.max(largest, at - start);
        if (inStrings - largest > MOST_OTHER_BYTES) {
          return `has more than ${MOST_OTHER_BYTES} bytes of texts beside its largest`;
        }
        token = 0;
        break;
      }
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > MOST_DEPTH) return `is nested more than ${MOST_DEPTH} deep`;
        if (++values > MOST_VALUES) return tooMany;
        token = 0;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        token = 0;
        break;
      case 0x2c: // ,
        if (++values > MOST_VALUES) return tooMany;
        token = 0;
        break;
      case 0x3a: // :
      case 0x20:
      case 0x09:
      case 0x0a:
      case 0x0d:
        token = 0;
        if (at - inStrings > MOST_BETWEEN_BYTES)
          return `has more than ${MOST_BETWEEN_BYTES} bytes outside of its texts`;
        break;
      default:
        if (++token > MOST_TOKEN) return `has a number or a word of more than ${MOST_TOKEN} characters`;
    }
  }
  return null;
}

const tooMany = `has more than ${MOST_VALUES} values`;

/** Quotes of one string to look up before it is read byte by byte; a string may consist of escaped quotes alone. */
const MOST_LOOKS = 16;

/** Returns the place of the quote that ends a string; the length of the text if there is none. */
function endOfString(text: Buffer, from: number): number {
  let at = from;
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    const quote = text.indexOf(0x22, at);
    if (quote < 0) return text.length;
    let before = quote;
    while (before > at && text[before - 1] === 0x5c) before--;
    if ((quote - before) % 2 === 0) return quote;
    at = quote + 1;
  }
  while (at < text.length && text[at] !== 0x22) at += text[at] === 0x5c ? 2 : 1;
  return Math.min(at, text.length);
}
