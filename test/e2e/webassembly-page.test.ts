import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeAll, describe, expect, it } from 'vitest';
import { Bench } from '../conformance/runtime-under-test.ts';
import { openWasm, wasmUnderTest } from '../conformance/wasm-under-test.ts';
import { keep } from '../support/kept.ts';
import { C_FLAGS, modulesMissing } from '../support/wasm-modules.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/guide/webassembly.md'), 'utf8');
/** Indented lines that belong together. */
const examples = [...page.matchAll(/(?:^ {4}.*\n|^\n(?= {4}))+/gm)].map(([text]) => text.replaceAll(/^ {4}/gm, ''));
const example = (word: string) => examples.find((text) => text.includes(word)) ?? '';
const INCLUDES = '#include <ctype.h>\n#include <stdlib.h>\n';

describe.skipIf((await modulesMissing()) !== null)('docs/guide/webassembly.md', () => {
  let bench: Bench;
  const kept = keep();
  beforeAll(async () => {
    const open = await openWasm('v8');
    const { codeDirectory } = open;
    await mkdir(codeDirectory, { recursive: true });
    await writeFile(join(codeDirectory, 'page.c'), INCLUDES + example('export_name("add")') + example('pilum_alloc'));
    const source = join(codeDirectory, 'page.c');
    await execa('clang', [...C_FLAGS, '-mexec-model=reactor', source, '-o', join(codeDirectory, 'main.wasm')]);
    bench = kept.add(await Bench.of({ ...(await wasmUnderTest('v8')), open: () => Promise.resolve(open) }), (b) =>
      b.open.close(),
    );
  });

  it('has a function of numbers that does what it says', async () => {
    const [, given = '', expected = ''] = /\/\/ (\[.*\]) → (\S+)/.exec(example('export_name("add")')) ?? [];
    const { value } = await bench.once({ protocol: 'wasi', entry: 'main.wasm#add' }, JSON.parse(given));
    expect(value).toBe(JSON.parse(expected));
  });

  it('has a function of bytes that does what it says', async () => {
    const [, given = '', expected = ''] = /\/\/ (\w+) → (\w+)/.exec(example('pilum_alloc')) ?? [];
    const instance = await bench.start({ protocol: 'wasi', entry: 'main.wasm#shout' });
    expect((await instance.call(null, { payload: Buffer.from(given) })).value).toBe(expected);
  });
});
