import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { capModule } from '../../../../apps/worker/src/runtimes/wasm/engine/capped-module.ts';
import { BadModule } from '../../../../packages/core/src/wasm/bytes-reader.ts';
import { readModuleHead } from '../../../../packages/core/src/wasm/module-head.ts';
import { leb, moduleBytes, tableBomb, withMemory } from '../../../support/module-bytes.ts';

const PAGE = 65_536;
const headOf = async (module: Buffer) => await readModuleHead([module]);

describe('a module whose memory is capped', () => {
  it.each([
    ['no limit', [0, 1], { minimum: 1, maximum: 16 }],
    ['a larger limit', [1, 1, ...leb(65_536)], { minimum: 1, maximum: 16 }],
    ['a smaller limit', [1, 1, 4], { minimum: 1, maximum: 4 }],
    ['all of it', [0, 16], { minimum: 16, maximum: 16 }],
  ])('has %s, and grows no further', async (_, limits, expected) => {
    const capped = capModule(withMemory(...limits), 16 * PAGE);
    expect((await headOf(capped)).memories).toEqual([expected]);
    expect(await WebAssembly.compile(new Uint8Array(capped))).toBeInstanceOf(WebAssembly.Module);
  });

  it('has tables that grow no further than a limit', async () => {
    expect((await headOf(capModule(tableBomb(), 16 * PAGE))).tables).toEqual([{ minimum: 1, maximum: 100_000 }]);
  });

  it('is otherwise what it was', () => {
    const module = moduleBytes({ types: [[[], []]], functions: [{ type: 0, code: [] }], exports: [['_start', 0, 0]] });
    expect(capModule(module, PAGE)).toEqual(module);
  });

  it.each([
    ['begins with more', withMemory(0, 17)],
    [
      'has two memories',
      moduleBytes({
        memories: [
          [0, 1],
          [0, 1],
        ],
      }),
    ],
    ['has a shared one', withMemory(3, 1, 2)],
    ['has a 64-bit one', withMemory(4, 1)],
    ['has a second section of memories', Buffer.concat([withMemory(0, 1), Buffer.from([5, 3, 1, 0, 1])])],
    ['ends too early', withMemory(0, 1).subarray(0, 20)],
  ])('is refused where it %s', (_, module) => {
    expect(() => capModule(module, 16 * PAGE)).toThrow(BadModule);
  });

  it('of bytes that were changed at random keeps to the limit, or is refused', async () => {
    const base = withMemory(1, 1, ...leb(65_536));
    const change = fc.tuple(fc.nat(base.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const bytes = Buffer.from(base);
        for (const [at, byte] of changes) bytes[at] = byte;
        let capped: Buffer;
        try {
          capped = capModule(bytes, 16 * PAGE);
        } catch (error) {
          expect(error).toBeInstanceOf(BadModule);
          return;
        }
        const module = await WebAssembly.compile(new Uint8Array(capped)).catch(() => null);
        if (module === null) return;
        const { memories } = await headOf(capped);
        for (const { maximum } of memories) expect(maximum).toBeLessThanOrEqual(16);
      }),
      { numRuns: 300 },
    );
  });
});
