import type { FunctionType, ModuleHead } from './module-head.ts';

/** The function by which a module that takes bytes gives room for them: (bytes: i32) → address: i32. */
export const ALLOCATOR = 'pilum_alloc';

const isType = (type: FunctionType | null | undefined, parameters: string, results: string) =>
  type?.parameters.join() === parameters && type.results.join() === results;

/**
 * Whether a named export takes bytes and returns bytes: (address: i32, length: i32) → i64, in a module that exports
 * {@link ALLOCATOR}. The high half of what it returns is an address, the low half a length. docs/guide/webassembly.md is the
 * whole of it.
 */
export function isBytesCall(exports: ModuleHead['exports'], name: string): boolean {
  return isType(exports.get(name)?.type, 'i32,i32', 'i64') && isType(exports.get(ALLOCATOR)?.type, 'i32', 'i32');
}
