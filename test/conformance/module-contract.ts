import { expect, test } from 'vitest';
import type { Bench, Deployment } from './runtime-under-test.ts';

const of = (entry: string, more: Deployment = {}): Deployment => ({ protocol: 'wasi', entry, ...more });

/** Functions that are called by name, and modules that cannot be. */
export function moduleContract(bench: () => Bench): void {
  test.for([
    ['add', [2, 40], 42],
    ['add', [2147483647, 1], -2147483648],
    ['add', [4294967295, 0], -1],
    ['scale', [0.5, 3], 1.5],
    ['scale', ['Infinity', 1], 'Infinity'],
    ['largest', 7, 7],
    ['largest', '9223372036854775807', '9223372036854775807'],
    ['largest', [-9007199254740991], -9007199254740991],
    ['nothing', [], null],
    ['nothing', {}, null],
  ] as const)('a function of numbers is called: %s %o', async ([name, event, expected]) => {
    const answer = await bench().once(of(`library.wasm#${name}`), event);
    expect(answer).toMatchObject({ ok: true, contentType: 'application/json', value: expected });
  });

  test.for([
    ['add', [1], 'takes 2 numbers (i32, i32) as a JSON array, and 1 were given'],
    ['add', [1, 0.5], 'parameter 1 is 0.5, which is no i32'],
    ['add', [1, 4294967296], 'which is no i32'],
    ['largest', 9007199254740992, 'which is no i64'],
    ['scale', ['x', 1], 'parameter 0 is "x", which is no f32'],
    ['nothing', [1], 'takes no parameters'],
  ] as const)('numbers that cannot be passed are VALIDATION_FAILED: %s %o', async ([name, event, message]) => {
    const { error } = await bench().once(of(`library.wasm#${name}`), event);
    expect(error).toMatchObject({ code: 'VALIDATION_FAILED', message: expect.stringContaining(message) });
  });

  test('a function of bytes gets and returns bytes', async () => {
    const instance = await bench().start(of('library.wasm#shout'));
    const shout = async (payload: Buffer) => await instance.call(null, { payload });
    expect((await shout(Buffer.from('hello'))).value).toBe('HELLO');
    expect((await shout(Buffer.from('{"a":1}'))).value).toEqual({ A: 1 });
    expect((await shout(Buffer.alloc(0))).body).toHaveLength(0);
    const large = Buffer.alloc(5 * 1024 * 1024, 'y');
    expect((await shout(large)).body.equals(Buffer.alloc(large.length, 'Y'))).toBe(true);
    expect((await shout(Buffer.from([0, 255]))).body).toEqual(Buffer.from([0, 255]));
  });

  test.for([
    ['outside', 'it returned bytes outside of its memory'],
    ['enormous', 'its result is larger than limits.outputMiB'],
  ])('bytes that are none fail the task: %s', async ([name, message]) => {
    const { error } = await bench().once(of(`library.wasm#${name}`), 'text');
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', message: expect.stringContaining(message as string) });
  });

  test('every call of a function has a fresh memory', async () => {
    const instance = await bench().start(of('library.wasm#count'));
    for (let turn = 0; turn < 5; turn++) expect((await instance.call([])).value).toBe(1);
  });

  test('what a function prints is its log', async () => {
    const { value, log } = await bench().once(of('library.wasm#print'));
    expect(value).toBe(1);
    expect(log.map(({ stream, text }) => [stream, text])).toEqual([
      ['stdout', 'to stdout'],
      ['stderr', 'to stderr'],
    ]);
  });

  test('a function that traps fails its task', async () => {
    const { error } = await bench().once(of('library.wasm#trap'));
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', message: expect.stringContaining('unreachable') });
  });

  test.for([
    ['missing.wasm', 'The code has no file missing.wasm.'],
    ['no-module.wasm', 'is no WebAssembly'],
    ['text.wasm', 'make a binary of it first'],
    ['component.wasm', 'is a component (WASI preview 2)'],
    ['endless-number.wasm', 'holds a number'],
    ['cut-off.wasm', 'ends in the middle'],
    ['invalid.wasm', 'cannot be run'],
    ['needs-javascript.wasm', 'imports what is not there: gojs.runtime.wasmExit, env.emscripten_resize_heap'],
    ['needs-javascript.wasm', 'build with GOOS=wasip1'],
    ['imported-memory.wasm', 'env.memory (a memory)'],
    ['shared-memory.wasm', 'has a shared memory'],
    ['wide-memory.wasm', 'has a 64-bit memory'],
    ['two-memories.wasm', 'has 2 memories'],
    ['large-memory.wasm', 'begins with 1024 MiB of memory, more than limits.memoryMiB (256)'],
    ['library.wasm', 'does not export a function _start; it exports: '],
    ['library.wasm#absent', 'does not export a function absent; it exports: '],
    ['library.wasm#memory', 'does not export a function memory'],
  ] as const)('%s does not start, and the error says why: %s', async ([entry, message]) => {
    await expect(bench().start(of(entry))).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining(message),
    });
  });

  test('a start can be aborted', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(bench().start(of('echo.wasm'), signal)).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
  });

  test.for([
    [{ protocol: 'stdio', command: ['cat'] }, 'NOT_IMPLEMENTED'],
    [of('echo.wasm', { limits: { network: 'host' } }), 'FORBIDDEN'],
  ] as const)('%o is refused', async ([deployment, code]) => {
    await expect(bench().start(deployment as Deployment)).rejects.toMatchObject({ code });
  });
}
