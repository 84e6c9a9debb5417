import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BadModule } from '../../../packages/core/src/wasm/bytes-reader.ts';
import { readModuleHead } from '../../../packages/core/src/wasm/module-head.ts';
import { moduleProblems } from '../../../packages/core/src/wasm/module-problems.ts';
import { WASI_FUNCTIONS } from '../../../packages/core/src/wasm/wasi-functions.ts';
import { I32, I64, importing, leb, moduleBytes, PREAMBLE, section, tableBomb } from '../../support/module-bytes.ts';

const library = moduleBytes({
  types: [
    [[I32, I32], [I64]],
    [[I32], [I32]],
  ],
  functions: [
    { type: 0, code: [0x42, 0] },
    { type: 1, code: [0x20, 0] },
  ],
  memories: [[1, 1, 16]],
  exports: [
    ['bytes', 0, 0],
    ['pilum_alloc', 0, 1],
    ['memory', 2, 0],
  ],
});

describe('the head of a module', () => {
  it('says what it imports and exports, and what it needs', async () => {
    const head = await readModuleHead([library]);
    expect(head.exports.get('bytes')).toEqual({
      kind: 'function',
      type: { parameters: ['i32', 'i32'], results: ['i64'] },
    });
    expect(head.memories).toEqual([{ minimum: 1, maximum: 16 }]);
    expect((await readModuleHead([importing(['env', 'log'])])).imports).toEqual([
      { module: 'env', name: 'log', kind: 'function' },
    ]);
    expect((await readModuleHead([tableBomb()])).tables).toEqual([{ minimum: 1, maximum: null }]);
  });

  it('is the same in whatever pieces the module comes', async () => {
    const whole = await readModuleHead([library]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(library.length), { maxLength: 8 }), async (cuts) => {
        const ends = [...cuts, library.length].sort((a, b) => a - b);
        const pieces = ends.map((end, index) => library.subarray(ends[index - 1] ?? 0, end));
        expect(await readModuleHead(pieces)).toEqual(whole);
      }),
    );
  });

  it('of bytes that were changed at random is read, or is a BadModule, in little time', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(library.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        async (changes) => {
          const bytes = Buffer.from(library);
          for (const [at, byte] of changes) bytes[at] = byte;
          try {
            moduleProblems(await readModuleHead([bytes]), null, 256);
          } catch (error) {
            expect(error).toBeInstanceOf(BadModule);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    ['a vector that says it has more than there are bytes', section(1, [...leb(4_000_000_000), 0x60])],
    ['a section that says it is larger than all that is read', [1, ...leb(8 * 1024 * 1024)]],
    ['a section that comes twice', [...section(5, [0]), ...section(5, [0])]],
    ['sections out of their order', [...section(7, [0]), ...section(1, [0])]],
    ['a section of an unknown kind', section(99, [])],
  ])('refuses %s', async (_, bytes) => {
    await expect(readModuleHead([Buffer.from([...PREAMBLE, ...bytes])])).rejects.toBeInstanceOf(BadModule);
  });

  it('stops where the code begins, and gives up what it reads from', async () => {
    let taken = 0;
    let isGivenUp = false;
    async function* chunks() {
      try {
        yield library;
        for (;;) {
          taken++;
          yield Buffer.alloc(1024);
        }
      } finally {
        isGivenUp = true;
      }
    }
    await readModuleHead(chunks());
    expect([taken, isGivenUp]).toEqual([0, true]);
  });
});

describe('what keeps a module from being run', () => {
  it('is nothing for all functions of WASI, and for bytes', async () => {
    const all = importing(...WASI_FUNCTIONS.map((name) => ['wasi_snapshot_preview1', name] as const));
    expect(WASI_FUNCTIONS).toHaveLength(46);
    expect(moduleProblems(await readModuleHead([all]), null, 16)).toEqual([]);
    expect(moduleProblems(await readModuleHead([library]), 'bytes', 16)).toEqual([]);
  });

  it('is an import of anything else, even of something of every object', async () => {
    const problems = moduleProblems(await readModuleHead([importing(['constructor', 'toString'])]), null, 16);
    expect(problems).toEqual([
      'imports what is not there: constructor.toString; there is WASI preview 1 (wasi_snapshot_preview1) and nothing else',
    ]);
  });
});

describe('a module that ends in the middle of a number', () => {
  it('is told so, and is waited for no longer', async () => {
    for (const rest of [[1], [1, 0x80], [0, 0xff, 0xff], [3, 0x80, 0x80]]) {
      await expect(readModuleHead([Buffer.from([...PREAMBLE, ...rest])])).rejects.toThrow('in the middle of a number');
    }
  });
});

describe('a head that is larger than any', () => {
  const counted = (id: number, count: number, item: readonly number[]) =>
    section(id, [...leb(count), ...Array.from({ length: count }, () => item).flat()]);
  const refused = (...bytes: readonly number[][]) => readModuleHead([Buffer.from([...PREAMBLE, ...bytes.flat()])]);

  it.each([
    ['types', 1, 100_001, [0x60, 0, 0]],
    ['tables', 4, 1001, [0x70, 0, 0]],
    ['memories', 5, 101, [0, 0]],
  ])('is refused for its %s before they are read', async (_what, id, count, item) => {
    await expect(refused(counted(id, count, item))).rejects.toThrow(new RegExp(`has ${count} of what may be`));
  });

  it('is refused for parameters, and for sections that hold nothing', async () => {
    const wide = [0x60, ...leb(1001), ...Array.from({ length: 1001 }, () => I32), 0];
    await expect(refused(counted(1, 1, wide))).rejects.toThrow('has 1001 of what may be 1000');
    await expect(refused(Array.from({ length: 1001 }, () => [0, 0]).flat())).rejects.toThrow('more than 1000 sections');
  });

  it('is read in many turns where it is large', async () => {
    let turns = 0;
    let isOver = false;
    const count = () => {
      turns++;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    await refused(counted(1, 90_000, [0x60, 0, 0]), counted(3, 900_000, [0]));
    isOver = true;
    expect(turns).toBeGreaterThan(20);
  });
});
