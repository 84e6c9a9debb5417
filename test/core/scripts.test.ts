import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { definedScripts, defineScript } from '@pilum/core/redis/script.ts';
import { scriptText } from '@pilum/core/redis/script-text.ts';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis } from '../support/redis.ts';

const ROOT = join(import.meta.dirname, '../..');
const LUA_FILES = globSync('{packages,apps}/*/src/**/*.lua', { cwd: ROOT }).map((path) => join(ROOT, path));
const MODULES = globSync('{packages,apps}/*/src/**/*.ts', { cwd: ROOT })
  .map((path) => join(ROOT, path))
  .filter((path) => readFileSync(path, 'utf8').includes(' = defineScript('));
for (const path of MODULES) await import(path);
const SCRIPTS = [...definedScripts()];

/** Words of a script that stand for something: neither strings nor what follows a dot. */
const wordsOf = (text: string) =>
  text.replace(/'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"/g, "''").match(/(?<![\w.])[A-Za-z_]\w*/g) ?? [];

const KEYWORDS =
  'and break do else elseif end false for function if in local nil not or repeat return then true until while';
const GIVEN = 'ARGV KEYS cjson ipairs math next pairs redis string struct table tonumber type unpack';

let redis: Redis;
const kept = keep();
beforeAll(async () => {
  const server = kept.add(await startRedis());
  redis = kept.add(connect({ url: server.url, name: 'test' }, () => undefined));
});

describe('the scripts', () => {
  it('are all the Lua files that there are', () => {
    expect(SCRIPTS.length).toBeGreaterThan(30);
    expect(new Set(SCRIPTS.flatMap(({ files }) => files))).toEqual(new Set(LUA_FILES));
  });

  it.each(SCRIPTS)('$name compiles, and knows each word that it uses', async ({ text, names }) => {
    expect(await redis.call('SCRIPT', 'LOAD', text)).toMatch(/^[0-9a-f]{40}$/);
    const words = wordsOf(text);
    const locals = [...text.matchAll(/\blocal (?!function)([\w, ]+)/g)].flatMap(([, list = '']) => list.split(/, */));
    const loops = [...text.matchAll(/\bfor ([\w, ]+?) (?:=|in )/g)].flatMap(([, list = '']) => list.split(/, */));
    const functions = [...text.matchAll(/\bfunction (\w+)\(([^)]*)\)/g)].flatMap(([, name = '', list = '']) => [
      name,
      ...list.split(/, */),
    ]);
    const isKnown = new Set([...locals, ...loops, ...functions].map((word) => word.trim()));
    for (const word of `${KEYWORDS} ${GIVEN}`.split(' ')) isKnown.add(word);
    expect(words.filter((word) => !isKnown.has(word))).toEqual([]);
    // Once where the prologue names it.
    for (const name of names.map((one) => one.replace('...', ''))) {
      expect(words.filter((word) => word === name).length, `uses of ${name}`).toBeGreaterThan(1);
    }
  });
});

describe('a script', () => {
  it('takes keys and arguments by name, in whatever order they are handed in, with lists at their ends', async () => {
    const script = defineScript({
      keys: ['first', '...others'],
      args: ['a', 'b', '...rest'],
      lua: `return {first, #others, others[2], a, b, #rest, rest[1]}`,
    });
    const values = { rest: ['x', 'y', 'z'], b: 2, others: ['{k}:2', '{k}:3'], a: 'one', first: '{k}:1' };
    expect(await script.run(redis, values)).toEqual(['{k}:1', 2, '{k}:3', 'one', '2', 3, 'x']);
    expect(await script.run(redis, { ...values, others: [], rest: [] })).toEqual(['{k}:1', 0]);
    // @ts-expect-error b is missing
    const missing: Parameters<typeof script.run>[1] = { first: '', others: [], a: '', rest: [] };
    // @ts-expect-error c is none of them
    const unknown: Parameters<typeof script.run>[1] = { ...missing, b: '', c: '' };
    expect(unknown).toHaveProperty('c');
  });

  it('says in which line of which file it failed', async () => {
    const script = defineScript({ keys: [], args: ['n'], lua: `local one = 1\nreturn one + n` });
    await expect(script.run(redis, { n: 'word' })).rejects.toThrow('[inline Lua:2]');
  });
});

describe('Lua files', () => {
  const assemble = (files: Record<string, string>, given: Partial<Parameters<typeof scriptText>[0]> = {}) => {
    const directory = mkdtempSync(join(tmpdir(), 'pilum-lua-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    for (const [name, lua] of Object.entries(files)) writeFileSync(join(directory, `${name}.lua`), lua);
    return scriptText({ keys: [], args: [], ...given, file: pathToFileURL(join(directory, 'main.lua')) });
  };

  it('are put together once each, with constants in place of their names, but not in strings', () => {
    const shared = '--- @const MOST\nlocal function f() return MOST, "MOST" end\n';
    const { text } = assemble(
      {
        main: '--- @include "left"\n--- @include "right"\n--- @arg x\nreturn f(x) -- MOST\n',
        left: '--- @include "shared"\n',
        right: '--- @include "shared"\n',
        shared,
      },
      { args: ['x'], constants: { MOST: 0x100000000 } },
    );
    expect(text).toBe('local x = ARGV[1]\nlocal function f() return 4294967296, "MOST" end\nreturn f(x)');
  });

  it.each<[string, Record<string, string>, Partial<Parameters<typeof scriptText>[0]>, RegExp]>([
    ['a circle', { main: '--- @include "a"', a: '--- @include "main"' }, {}, /in a circle: .*main\.lua → .*a\.lua → /],
    ['a circle of one', { main: '--- @include "main"' }, {}, /in a circle/],
    ['an argument by number', { main: 'return ARGV[1]' }, {}, /main\.lua:1 takes from ARGV by number/],
    ['a key by number', { main: '\nreturn KEYS[1]' }, {}, /main\.lua:2 takes from KEYS by number/],
    [
      'an argument that is not handed in',
      { main: '--- @arg x' },
      {},
      /hands in no argument x, which .*main\.lua needs/,
    ],
    ['an argument of another name', { main: '--- @arg x' }, { args: ['x', 'y'] }, /argument y, which no file/],
    ['a key that is not handed in', { main: '--- @key k' }, {}, /hands in no key k/],
    ['a constant that is not handed in', { main: '--- @const MOST' }, {}, /hands in no constant MOST/],
    ['a constant that nothing needs', { main: '' }, { constants: { MOST: 1 } }, /constant MOST, which no file/],
    ['a constant that is not declared', { main: 'return MOST' }, {}, /main\.lua:1 names MOST/],
    ['a name twice', { main: '--- @key x\n--- @arg x' }, { keys: ['x'], args: ['x'] }, /two values of the name x/],
    ['a list in the middle', { main: '--- @arg ...x\n--- @arg y' }, { args: ['...x', 'y'] }, /follows \.\.\.x/],
  ])('are refused with %s', (_what, files, given, message) => {
    expect(() => assemble(files, given)).toThrow(message);
  });
});
