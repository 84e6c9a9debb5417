import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BOOTSTRAP_PARTS, readBootstraps } from '../../../apps/worker/src/runtimes/protocols/bootstraps.ts';
import { withWireConstants } from '../../../tools/wire-constants.ts';

const SOURCES = join(import.meta.dirname, '../../../apps/worker/src/runtimes/protocols/handler/bootstrap');

test('every file of a bootstrap is part of it, once', () => {
  const listed = Object.values(BOOTSTRAP_PARTS).flat();
  const there = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter((path) => /\.(mjs|py)$/.test(path));
  expect(listed.toSorted()).toEqual(there.toSorted());
});

test('what the parts are joined to is a module that Node takes', async () => {
  const { content = '' } = (await readBootstraps()).find(({ name }) => name === 'node.mjs') ?? {};
  const checked = spawnSync(process.execPath, ['--check', '--input-type=module', '-'], { input: content });
  expect(checked.stderr.toString()).toBe('');
});

test('numbers of the wire that a bootstrap has otherwise are written anew, and only those that it uses', () => {
  const source = '// <generated>\nconst CALL = 99;\n// </generated>\nCALL;\n';
  const expected =
    '// <generated>\n// From frames.ts and wire-limits.ts, by `npm run docs`; change it there.\nconst CALL = 2;\n// </generated>\nCALL;\n';
  expect(withWireConstants('node', source, '')).toBe(expected);
  expect(withWireConstants('node', source, 'PING;')).toContain('const PING = 8;');
  expect(() => withWireConstants('python', source, '')).toThrow('has no # <generated>');
});
