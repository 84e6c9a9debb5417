import { expect, test } from 'vitest';
import type { Bench, Deployment } from './runtime-under-test.ts';

const python = (name: string, env: Record<string, string> = {}): Deployment => ({
  language: 'python',
  entry: `interpreter.py#${name}`,
  env,
});

/** What an interpreter is to its function: it takes in the variables it is given, and can be used as any other. */
export function interpreterContract(bench: () => Bench): void {
  const node = (env: Record<string, string>) => bench().once({ entry: 'interpreter.mjs', env });

  test.for([
    [{ NODE_OPTIONS: '--import ./hook.mjs --stack-trace-limit=33' }, { hooked: true, depth: 33 }],
    [{ NODE_OPTIONS: '--require ./vendored/thing/index.js --max-old-space-size=77' }, { hooked: false }],
    [{ NODE_PATH: 'vendored' }, { thing: 'found' }],
    [{}, { thing: 'MODULE_NOT_FOUND', hooked: false, depth: 10 }],
    [{ TZ: 'Asia/Tokyo' }, { zone: 'Asia/Tokyo', hour: 9 }],
    [{ LC_ALL: 'de_DE.UTF-8' }, { locale: 'de-DE' }],
  ] as const)('Node takes in %o', async ([env, expected]) => {
    const { value } = await node(env);
    expect(value).toMatchObject({ ...expected, env });
  });

  test('a limit for the heap that a version gives itself is the one that holds', async () => {
    const { value } = await node({ NODE_OPTIONS: '--max-old-space-size=64 --max-semi-space-size=1' });
    expect((value as { heapMiB: number }).heapMiB).toBeLessThan(90);
  });

  test('what Node does not take in its options is said when the instance starts', async () => {
    await expect(node({ NODE_OPTIONS: '--no-such-option' })).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining('--no-such-option is not allowed in NODE_OPTIONS'),
    });
  });

  test.for([
    [{ PYTHONPATH: 'vendored' }, { found: true, first: true, ours: [] }],
    [{}, { found: false, first: true, ours: [], optimize: 0 }],
    [{ PYTHONOPTIMIZE: '2' }, { optimize: 2, ours: [] }],
    [{ TZ: 'Asia/Tokyo' }, { hour: 9 }],
  ] as const)('Python takes in %o', async ([env, expected]) => {
    expect((await bench().once(python('handler', env))).value).toMatchObject(expected);
  });

  test('PYTHONHASHSEED makes hashes the same in every instance', async () => {
    const hashes = async () =>
      ((await bench().once(python('handler', { PYTHONHASHSEED: '7' }))).value as { hashes: number }).hashes;
    expect(await hashes()).toBe(await hashes());
  });

  test.for(['fork', 'spawn', 'forkserver'])('multiprocessing works with %s', async (how) => {
    const { value, error, log } = await bench().once(python('pools'), { how });
    expect(error).toBeUndefined();
    expect(value).toEqual({ first: 42, second: [2, 4], exit: 0 });
    expect(log.map(({ text }) => text)).toContain('from a child');
  });

  test('a child of a Python function is as any other', async () => {
    expect((await bench().once(python('child'))).value).toBe('hello!');
  });

  test('a Python module is not told that it is the main one', async () => {
    const { value } = await bench().once(python('main_module'));
    expect(value).toEqual({ name: 'interpreter', main: false, file: null, argv: false });
  });

  test.for([
    ['a CommonJS module', 'main-module.cjs'],
    ['a module', 'main-module.mjs'],
  ] as const)('%s is not told that it is the main one', async ([, entry]) => {
    const { value } = await bench().once({ entry });
    expect(value).toEqual({ isMain: false });
  });

  test('a function and its children can open their output by its name', async () => {
    const script = 'echo out >/dev/stdout; echo err >/dev/stderr; cat /dev/fd/0 </dev/null';
    const { value } = await bench().once({ entry: 'shell.mjs' }, { script: `(${script}) | cat` });
    expect(value).toMatchObject({ status: 0 });
    const { log } = await bench().once({ entry: 'inherits.mjs' });
    expect(log.map(({ text }) => text)).toEqual(['by its name', 'of a child']);
  });
}
