import type { FunctionType } from '@pilum/core/wasm/module-head.ts';
import type { ValueType } from '@pilum/core/wasm/module-sections.ts';

/** The error of numbers that cannot be passed to a function; the message says why. */
export class BadNumbers extends Error {}

const BYTES = 8;
/** Largest payload that is read: a function takes at most 1000 numbers. */
const MAX_PAYLOAD_BYTES = 64 * 1024;
const ODD: Readonly<Record<string, number>> = { NaN: Number.NaN, Infinity: Infinity, '-Infinity': -Infinity };

/**
 * A payload as the parameters of a function of numbers: 8 bytes for each, little-endian. The payload is a JSON array of as
 * many numbers as the function takes, or the number itself where it takes one; nothing, or {}, where it takes none. An i64
 * may be a string of digits, a float one of NaN, Infinity and -Infinity.
 * @throws BadNumbers
 */
export function encodeNumbers({ parameters }: FunctionType, payload: Buffer): Buffer {
  const values = valuesOf(payload);
  if (values.length !== parameters.length) {
    throw new BadNumbers(`the function takes ${describe(parameters)} as a JSON array, and ${values.length} were given`);
  }
  const raw = Buffer.alloc(BYTES * parameters.length);
  for (const [index, type] of parameters.entries()) write(raw, BYTES * index, type, values[index], index);
  return raw;
}

/**
 * Encodes what a function of numbers returned as JSON: null for nothing, the number for one, an array for several. An i64 that
 * JavaScript cannot hold exactly is a string, and so are NaN, Infinity and -Infinity.
 */
export function decodeNumbers({ results }: FunctionType, raw: Buffer): Buffer {
  const values = results.map((type, index) => read(raw, BYTES * index, type));
  const value = values.length > 1 ? values : (values[0] ?? null);
  return Buffer.from(JSON.stringify(value));
}

function valuesOf(payload: Buffer): unknown[] {
  if (payload.length === 0) return [];
  if (payload.length > MAX_PAYLOAD_BYTES) throw new BadNumbers('the payload is larger than any list of parameters');
  let value: unknown;
  try {
    value = JSON.parse(payload.toString('utf8'));
  } catch (error) {
    throw new BadNumbers(`the payload is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  if (Array.isArray(value)) return value;
  const isEmpty = value === null || (typeof value === 'object' && Object.keys(value).length === 0);
  return isEmpty ? [] : [value];
}

const describe = (types: readonly ValueType[]) =>
  types.length === 0 ? 'no parameters' : `${types.length} numbers (${types.join(', ')})`;

function write(raw: Buffer, at: number, type: ValueType, value: unknown, index: number): void {
  const bad = () => new BadNumbers(`parameter ${index} is ${JSON.stringify(value)}, which is no ${type}`);
  if (type === 'i32') {
    if (!Number.isInteger(value) || Number(value) < -(2 ** 31) || Number(value) >= 2 ** 32) throw bad();
    raw.writeUInt32LE(Number(value) >>> 0, at);
  } else if (type === 'i64') {
    const isExact = Number.isSafeInteger(value) || (typeof value === 'string' && /^-?\d{1,20}$/.test(value));
    const number = isExact ? BigInt(value as string | number) : null;
    if (number === null || number < -(2n ** 63n) || number >= 2n ** 64n) throw bad();
    raw.writeBigUInt64LE(BigInt.asUintN(64, number), at);
  } else {
    const number = typeof value === 'string' && Object.hasOwn(ODD, value) ? ODD[value] : value;
    if (typeof number !== 'number') throw bad();
    if (type === 'f32') raw.writeFloatLE(number, at);
    else raw.writeDoubleLE(number, at);
  }
}

function read(raw: Buffer, at: number, type: ValueType): number | string {
  if (type === 'i32') return raw.readInt32LE(at);
  if (type === 'i64') {
    const number = raw.readBigInt64LE(at);
    return Number.isSafeInteger(Number(number)) ? Number(number) : String(number);
  }
  const number = type === 'f32' ? raw.readFloatLE(at) : raw.readDoubleLE(at);
  return Number.isFinite(number) ? number : String(number);
}
