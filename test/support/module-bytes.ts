/** Small modules byte by byte: what no compiler would make. */
import { writeFileSync } from 'node:fs';

export const I32 = 0x7f;
export const I64 = 0x7e;
const FUNCREF = 0x70;

/** LEB128. */
export function leb(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 0x80, ...leb(Math.floor(value / 128))];
}

const vector = (items: readonly (readonly number[])[]) => [...leb(items.length), ...items.flat()];
const name = (text: string) => [...leb(Buffer.byteLength(text)), ...Buffer.from(text)];

/** A section of any id. */
export const section = (id: number, body: readonly number[]) => [id, ...leb(body.length), ...body];

export const PREAMBLE = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

export interface Parts {
  /** Of functions: parameters and results. */
  readonly types?: readonly (readonly [readonly number[], readonly number[]])[];
  /** Module, name, and what stands behind them: `[0, type]` for a function, `[2, …limits]` for a memory. */
  readonly imports?: readonly (readonly [string, string, readonly number[]])[];
  /** Of the module's own functions: their types and their instructions, without the last `end`. */
  readonly functions?: readonly { readonly type: number; readonly code: readonly number[] }[];
  /** Limits as they stand in the format. */
  readonly tables?: readonly (readonly number[])[];
  readonly memories?: readonly (readonly number[])[];
  /** Name, kind and index. */
  readonly exports?: readonly (readonly [string, number, number])[];
}

/** A module of these parts. */
export function moduleBytes({ types, imports, functions, tables, memories, exports }: Parts): Buffer {
  const typeList = (list: readonly number[]) => vector(list.map((type) => [type]));
  return Buffer.from([
    ...PREAMBLE,
    ...(types ? section(1, vector(types.map(([from, to]) => [0x60, ...typeList(from), ...typeList(to)]))) : []),
    ...(imports
      ? section(2, vector(imports.map(([module, field, what]) => [...name(module), ...name(field), ...what])))
      : []),
    ...(functions ? section(3, vector(functions.map(({ type }) => leb(type)))) : []),
    ...(tables ? section(4, vector(tables.map((limits) => [FUNCREF, ...limits]))) : []),
    ...(memories ? section(5, vector(memories)) : []),
    ...(exports
      ? section(7, vector(exports.map(([field, kind, index]) => [...name(field), kind, ...leb(index)])))
      : []),
    ...(functions ? section(10, vector(functions.map(({ code }) => [...leb(code.length + 2), 0, ...code, 0x0b]))) : []),
  ]);
}

const START = { types: [[[], []]], exports: [['_start', 0, 0]] } as const;

/** A command that does nothing, with a memory of such limits. */
export const withMemory = (...limits: number[]): Buffer =>
  moduleBytes({ ...START, functions: [{ type: 0, code: [] }], memories: [limits] });

/** A command that adds to its table for as long as it can be, and then for ever: `loop (table.grow …) drop br 0`. */
export const tableBomb = (): Buffer =>
  moduleBytes({
    ...START,
    functions: [{ type: 0, code: [0x03, 0x40, 0xd0, FUNCREF, 0x41, ...leb(4096), 0xfc, 15, 0, 0x1a, 0x0c, 0, 0x0b] }],
    tables: [[0, 1]],
  });

/** A function that returns how many elements its table has after it was grown by as many at once: `grow(i32) → i32`. */
const tableGrower = (): Buffer =>
  moduleBytes({
    types: [[[I32], [I32]]],
    exports: [['grow', 0, 0]],
    functions: [{ type: 0, code: [0xd0, FUNCREF, 0x20, 0, 0xfc, 15, 0, 0x1a, 0xfc, 16, 0] }],
    tables: [[0, 1]],
  });

/** A command that imports functions of these names. */
export const importing = (...names: (readonly [string, string])[]): Buffer =>
  moduleBytes({
    types: [[[], []]],
    imports: names.map(([module, field]) => [module, field, [0, 0]] as const),
    functions: [{ type: 0, code: [] }],
    memories: [[0, 1]],
    exports: [
      ['_start', 0, names.length],
      ['memory', 2, 0],
    ],
  });

/** Writes the modules that tests run beside those that are compiled. */
export function writeOddModules(directory: string): void {
  const modules: Readonly<Record<string, Buffer>> = {
    'table-bomb': tableBomb(),
    'table-grower': tableGrower(),
    'large-memory': withMemory(0, ...leb(16_384)),
    'shared-memory': withMemory(3, 1, 2),
    'wide-memory': withMemory(4, 1),
    'imported-memory': moduleBytes({
      ...START,
      imports: [['env', 'memory', [2, 0, 1]]],
      functions: [{ type: 0, code: [] }],
    }),
    'two-memories': moduleBytes({
      ...START,
      functions: [{ type: 0, code: [] }],
      memories: [
        [0, 1],
        [0, 1],
      ],
    }),
    'needs-javascript': importing(['gojs', 'runtime.wasmExit'], ['env', 'emscripten_resize_heap']),
    'endless-number': Buffer.from([...PREAMBLE, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    'cut-off': tableBomb().subarray(0, 22),
    'no-module': Buffer.from('#!/bin/sh\necho no\n'),
    text: Buffer.from('(module (func (export "_start")))'),
    component: Buffer.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]),
    // The body of its one function is no code.
    invalid: moduleBytes({ ...START, functions: [{ type: 0, code: [0x41] }] }),
  };
  for (const [name, bytes] of Object.entries(modules)) writeFileSync(`${directory}/${name}.wasm`, bytes);
}
