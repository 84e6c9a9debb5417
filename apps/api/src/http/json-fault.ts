/** The place at which a text stops being JSON. `position` counts UTF-16 units from 0, line and column from 1. */
export interface JsonFault {
  readonly position: number;
  readonly line: number;
  readonly column: number;
  /** The fault as a clause: the unexpected character, or that the text ends. */
  readonly what: string;
}

const BYTE_ORDER_MARK = '\ufeff';
const SPACE = /[ \t\r\n]*/y;
/** One escape within a string. A pattern for whole strings would use stack for each escape, so strings are read by hand. */
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const OTHER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null/y;

/** The tokens that may come next. */
type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'comma or end' | 'nothing';

/**
 * Finds the first fault in a text that `JSON.parse` has refused; the parser's own message often names no place. May be slow,
 * because it runs after a refusal only.
 */
export function findJsonFault(text: string): JsonFault {
  const open: ('{' | '[')[] = [];
  let expected = 'value' as Expected;
  let at = 0;
  const match = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const matchString = (): boolean => {
    const end = endOfString(text, at);
    if (end < 0) return false;
    at = end;
    return true;
  };
  const afterValue = () => {
    expected = open.length === 0 ? 'nothing' : 'comma or end';
  };
  for (;;) {
    match(SPACE);
    const character = text[at];
    if (character === undefined) return fault(text, at, 'the text ends too early');
    if (expected === 'nothing') return fault(text, at, `there is more after the value: ${shown(character)}`);
    if (expected === 'colon') {
      if (character !== ':') return fault(text, at, `a : is missing before ${shown(character)}`);
      at++;
      expected = 'value';
    } else if (expected === 'comma or end') {
      const isObject = open.at(-1) === '{';
      if (character === ',') {
        expected = isObject ? 'key' : 'value';
      } else if (character === (isObject ? '}' : ']')) {
        open.pop();
        afterValue();
      } else {
        return fault(text, at, `a , or ${isObject ? '}' : ']'} is missing before ${shown(character)}`);
      }
      at++;
    } else if (expected === 'key' || expected === 'key or }') {
      if (expected === 'key or }' && character === '}') {
        at++;
        open.pop();
        afterValue();
      } else if (matchString()) {
        expected = 'colon';
      } else {
        return fault(text, at, `a field name in double quotes is missing before ${shown(character)}`);
      }
    } else if (expected === 'value or ]' && character === ']') {
      at++;
      open.pop();
      afterValue();
    } else if (character === '{' || character === '[') {
      at++;
      open.push(character);
      expected = character === '{' ? 'key or }' : 'value or ]';
    } else if (matchString() || match(OTHER)) {
      afterValue();
    } else if (at === 0 && character === BYTE_ORDER_MARK) {
      return fault(text, at, 'a byte order mark (U+FEFF) stands in front of it, which JSON does not have,');
    } else {
      const what = character === '"' ? 'a string that begins here does not end well' : `unexpected ${shown(character)}`;
      return fault(text, at, what);
    }
  }
}

/** A character as it stands in JSON; one that cannot be seen as an escape. */
const shown = (character: string) =>
  JSON.stringify(character).replaceAll(/[\p{C}\p{Z}]/gu, (hidden) => {
    return hidden === ' ' ? hidden : `\\u${hidden.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });

/** Returns the end of the string that begins at a place; -1 if none begins there or its end is missing. */
function endOfString(text: string, from: number): number {
  if (text[from] !== '"') return -1;
  for (let at = from + 1; at < text.length; ) {
    const unit = text.charCodeAt(at);
    if (unit === 0x22) return at + 1;
    if (unit < 0x20) return -1;
    if (unit !== 0x5c) {
      at++;
      continue;
    }
    ESCAPE.lastIndex = at;
    if (!ESCAPE.test(text)) return -1;
    at = ESCAPE.lastIndex;
  }
  return -1;
}

function fault(text: string, position: number, what: string): JsonFault {
  let line = 1;
  for (let at = 0; at < position; at++) if (text.charCodeAt(at) === 0x0a) line++;
  const lineBefore = position === 0 ? -1 : text.lastIndexOf('\n', position - 1);
  return { position, line, column: position - lineBefore, what };
}
