import { expect, it } from 'vitest';
import { prettyLine } from '../../apps/up/src/pretty-line.ts';

const ODD = '\u001b]0;owned\u0007\u001b[2J\r\u009bm\u007f';

it('hands no command to the terminal, whatever a line quotes', () => {
  const pretty = prettyLine(false);
  const entry = {
    level: 40,
    time: 0,
    msg: `said ${ODD}`,
    err: { message: `x${ODD}`, stack: `a\n\tb${ODD}` },
    [`k${ODD}`]: 1,
  };
  for (const line of [JSON.stringify(entry), `plain ${ODD}`, `{ no JSON ${ODD}`]) {
    expect(pretty(line)).not.toMatch(/[^\P{Cc}\t\n]/u);
  }
  expect(pretty(JSON.stringify(entry))).toContain('said ␛]0;owned');
});

it('leaves colours of its own, and lines as they are', () => {
  expect(prettyLine(true)(JSON.stringify({ level: 40, time: 0, msg: 'hot' }))).toContain('\u001b[');
  expect(prettyLine(false)('an ordinary line: äöü €')).toBe('an ordinary line: äöü €');
});
