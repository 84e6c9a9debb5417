import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOG_EVENTS, logEvent } from '@pilum/core/log/log-events.ts';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const TABLE = 'packages/core/src/log/log-events.ts';

const sources = ['packages/core/src', 'apps/api/src', 'apps/worker/src', 'apps/up/src'].flatMap((home) =>
  readdirSync(join(root, home), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => path !== join(root, TABLE))
    .map((path) => ({ path: path.slice(root.length + 1), text: readFileSync(path, 'utf8') })),
);

describe('the table of log lines', () => {
  it('has every line that is logged', () => {
    const direct = /\b(?:log|logger)\.(?:trace|debug|info|warn|error|fatal)\(/;
    expect(sources.filter(({ text }) => direct.test(text)).map(({ path }) => path)).toEqual([]);
  });

  it('has no line that nobody logs', () => {
    const all = sources.map(({ text }) => text).join('\n');
    const logged = new Set([...all.matchAll(/\blogEvent\(\s*[^,]+,\s*'([a-z-]+)'/g)].map((match) => match[1]));
    expect([...logged].sort()).toEqual(Object.keys(LOG_EVENTS).sort());
  });

  it('names its thing in each line, and what to do about it', () => {
    for (const [name, { says, act }] of Object.entries(LOG_EVENTS)) {
      expect(name).toMatch(/^[a-z]+(?:-[a-z]+)*$/);
      expect(says).not.toMatch(/^(?:it|they|there|that|what)\b/i);
      expect(act).toMatch(/^[A-Z].*\.$/);
    }
  });
});

it('an error is logged as err, where its stack is kept', () => {
  const calls = sources.flatMap(({ path, text }) =>
    [...text.matchAll(/\blogEvent\([^;]*?\{([^}]*)\}/g)].map((match) => ({ path, fields: match[1] ?? '' })),
  );
  expect(calls.length).toBeGreaterThan(80);
  expect(calls.filter(({ fields }) => /(?:^|,)\s*(?:error|failure|thrown|cause)\s*(?:[,:]|$)/.test(fields))).toEqual(
    [],
  );
});

it('a line has its name, its fields and its sentence', () => {
  const lines: unknown[] = [];
  const take =
    (level: string) =>
    (...line: unknown[]) =>
      lines.push([level, ...line]);
  logEvent({ warn: take('warn') }, 'late-attempt', { taskId: 'a.1' });
  logEvent({ info: take('info') }, 'stopping', {}, 'SIGTERM: stopping');
  expect(lines).toEqual([
    ['warn', { event: 'late-attempt', taskId: 'a.1' }, LOG_EVENTS['late-attempt'].says],
    ['info', { event: 'stopping' }, 'SIGTERM: stopping'],
  ]);
});
