import { BadModule, type BytesReader } from './bytes-reader.ts';

/** Ids of the sections of a module (core specification 5.5.2). */
export const SECTIONS = {
  CUSTOM: 0,
  TYPE: 1,
  IMPORT: 2,
  FUNCTION: 3,
  TABLE: 4,
  MEMORY: 5,
  GLOBAL: 6,
  EXPORT: 7,
  START: 8,
  ELEMENT: 9,
  CODE: 10,
  DATA: 11,
  DATA_COUNT: 12,
  TAG: 13,
} as const;

/** The order in which they stand, each at most once; custom ones stand anywhere. */
const ORDER: readonly number[] = [
  SECTIONS.TYPE,
  SECTIONS.IMPORT,
  SECTIONS.FUNCTION,
  SECTIONS.TABLE,
  SECTIONS.MEMORY,
  SECTIONS.TAG,
  SECTIONS.GLOBAL,
  SECTIONS.EXPORT,
  SECTIONS.START,
  SECTIONS.ELEMENT,
  SECTIONS.DATA_COUNT,
  SECTIONS.CODE,
  SECTIONS.DATA,
];

/** `\0asm` and version 1 (5.5.16). */
export const PREAMBLE_BYTES = 8;

/**
 * Checks a module's first bytes.
 * @throws BadModule that says what it is instead, where that can be told
 */
export function checkPreamble(bytes: Buffer): void {
  if (bytes.length < PREAMBLE_BYTES || bytes.readUInt32BE(0) !== 0x0061736d) {
    const isText = /^\s*\(module\b/.test(bytes.toString('latin1'));
    throw new BadModule(
      isText
        ? 'is WebAssembly as text: make a binary of it first, for example with wat2wasm'
        : 'is no WebAssembly: it does not begin with \\0asm',
    );
  }
  const version = bytes.readUInt16LE(4);
  const layer = bytes.readUInt16LE(6);
  if (layer === 1) {
    throw new BadModule(
      'is a component (WASI preview 2): build a core module for WASI preview 1, for example for the target wasm32-wasip1',
    );
  }
  if (version !== 1 || layer !== 0) throw new BadModule(`is of version ${version} of the format, which is not known`);
}

/** Watches over the order of sections. */
export class SectionOrder {
  #last = -1;

  /** @throws BadModule for a section that is unknown, comes twice or out of its order */
  next(id: number): void {
    if (id === SECTIONS.CUSTOM) return;
    const place = ORDER.indexOf(id);
    if (place < 0) throw new BadModule(`has a section of a kind that is not known (${id})`);
    if (place <= this.#last) throw new BadModule(`has its sections in a wrong order (${id})`);
    this.#last = place;
  }
}

export const VALUE_TYPES = { 127: 'i32', 126: 'i64', 125: 'f32', 124: 'f64' } as const;
const OTHER_TYPES = { 123: 'v128', 112: 'funcref', 111: 'externref' } as const;
export type NumberType = (typeof VALUE_TYPES)[keyof typeof VALUE_TYPES];
export type ValueType = NumberType | (typeof OTHER_TYPES)[keyof typeof OTHER_TYPES];

/** A value's type (5.3.4). @throws BadModule for those of proposals that the engines do not run */
export function readValueType(reader: BytesReader): ValueType {
  const byte = reader.byte();
  const type = VALUE_TYPES[byte as keyof typeof VALUE_TYPES] ?? OTHER_TYPES[byte as keyof typeof OTHER_TYPES];
  if (type === undefined)
    throw new BadModule('uses typed references or garbage-collected types, which are not run here');
  return type;
}

export interface Limits {
  /** Pages of 64 KiB of a memory, elements of a table. */
  readonly minimum: number;
  readonly maximum: number | null;
}

const FLAGS = { MAXIMUM: 1, SHARED: 2, WIDE: 4 } as const;

/**
 * Limits of a memory or table (5.3.10).
 * @throws BadModule for shared and 64-bit ones, and page sizes of their own
 */
export function readLimits(reader: BytesReader, what: 'memory' | 'table'): Limits {
  const flags = reader.byte();
  if ((flags & FLAGS.SHARED) !== 0) throw new BadModule(`has a shared ${what}: threads are not run here`);
  if ((flags & FLAGS.WIDE) !== 0) throw new BadModule(`has a 64-bit ${what}, which is not run here`);
  if (flags > FLAGS.MAXIMUM) throw new BadModule(`has a ${what} of a kind that is not run here`);
  const minimum = reader.u32();
  return { minimum, maximum: (flags & FLAGS.MAXIMUM) === 0 ? null : reader.u32() };
}

/** A table's type and limits (5.5.7). @throws BadModule for one with an initial expression */
export function readTable(reader: BytesReader): { element: ValueType; limits: Limits } {
  return { element: readValueType(reader), limits: readLimits(reader, 'table') };
}
