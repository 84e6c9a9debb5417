import { isBytesCall } from './export-call.ts';
import type { FunctionType, ModuleHead, ModuleImport } from './module-head.ts';
import { VALUE_TYPES } from './module-sections.ts';
import { WASI_FUNCTIONS, WASI_MODULE } from './wasi-functions.ts';

/** Size of one page of memory, bytes. */
export const PAGE_BYTES = 65_536;
/** Elements of all tables of a module together, and tables. */
export const MAX_TABLE_ELEMENTS = 100_000;
export const MAX_TABLES = 4;
/** Missing imports that are named one by one. */
const MAX_NAMED = 8;

const KNOWN = new Set(WASI_FUNCTIONS);
const NUMBER_TYPES: readonly string[] = Object.values(VALUE_TYPES);

/** The meaning of a foreign world of imports, and what to do. */
const WORLDS: Readonly<Record<string, string>> = {
  env: 'env is what Emscripten and C without WASI ask of their host: build with wasi-libc, or with -sSTANDALONE_WASM',
  gojs: 'gojs is what Go asks of JavaScript: build with GOOS=wasip1 GOARCH=wasm',
  go: 'go is what Go asks of JavaScript: build with GOOS=wasip1 GOARCH=wasm',
  a: 'a is what Emscripten asks of its JavaScript: build with -sSTANDALONE_WASM',
  'rb-js-abi-host': 'rb-js-abi-host is what ruby.wasm asks of JavaScript: take its build for WASI without the js gem',
  wbg: 'wbg is what wasm-bindgen asks of JavaScript: build for the target wasm32-wasip1 without it',
  wasi_unstable: 'wasi_unstable is WASI preview 0: build with a newer compiler',
  wasi: 'threads of WASI are not run here',
};

/**
 * Everything that keeps a module from being run, as sentences without their subject, "the module".
 * @param head of the module
 * @param exportName the function to be called; null for `_start`
 * @param memoryMiB what its memory may grow to, MiB
 */
export function moduleProblems(head: ModuleHead, exportName: string | null, memoryMiB: number): string[] {
  return [
    ...importProblems(head),
    ...exportProblems(head, exportName),
    ...memoryProblems(head, memoryMiB),
    ...tableProblems(head),
  ];
}

function importProblems({ imports, exports }: ModuleHead): string[] {
  const missing = imports.filter(({ module, name, kind }) => {
    return module !== WASI_MODULE || kind !== 'function' || !KNOWN.has(name);
  });
  const problems: string[] = [];
  if (missing.length > 0) problems.push(missingImports(missing));
  else if (imports.length > 0 && exports.get('memory')?.kind !== 'memory') {
    problems.push('imports functions of WASI and does not export its memory as "memory", which they work on');
  }
  return problems;
}

function missingImports(missing: readonly ModuleImport[]): string {
  const names = missing.slice(0, MAX_NAMED).map(({ module, name, kind }) => {
    return `${cut(module)}.${cut(name)}${kind === 'function' ? '' : ` (a ${kind})`}`;
  });
  const more = missing.length > MAX_NAMED ? ` and ${missing.length - MAX_NAMED} more` : '';
  const hints = new Set(missing.map(({ module }) => (Object.hasOwn(WORLDS, module) ? WORLDS[module] : undefined)));
  const hint = [...hints].filter((text) => text !== undefined).join('; ');
  const what = `imports what is not there: ${names.join(', ')}${more}; there is WASI preview 1 (${WASI_MODULE}) and nothing else`;
  return hint === '' ? what : `${what}. ${hint}`;
}

function exportProblems({ exports }: ModuleHead, exportName: string | null): string[] {
  const name = exportName ?? '_start';
  const found = exports.get(name);
  if (found?.kind !== 'function' || found.type === null) {
    const functions = [...exports].filter(([, { kind }]) => kind === 'function').map(([known]) => cut(known));
    const known = functions.length === 0 ? 'no function' : functions.slice(0, MAX_NAMED).join(', ');
    const hint = exportName === null ? '; a library is called by an entry such as main.wasm#name' : '';
    return [`does not export a function ${cut(name)}; it exports: ${known}${hint}`];
  }
  if (exportName === null) {
    return isVoid(found.type) ? [] : ['exports a _start that takes or returns something, which WASI does not'];
  }
  const odd = [...found.type.parameters, ...found.type.results].find((type) => !NUMBER_TYPES.includes(type));
  if (odd !== undefined) return [`exports ${name} with a ${odd}: only numbers (i32, i64, f32, f64) can be passed`];
  if (isBytesCall(exports, name) && exports.get('memory')?.kind !== 'memory') {
    return [`takes bytes in ${name} and does not export its memory as "memory"`];
  }
  return [];
}

const isVoid = ({ parameters, results }: FunctionType) => parameters.length === 0 && results.length === 0;

function memoryProblems({ memories }: ModuleHead, memoryMiB: number): string[] {
  if (memories.length > 1) return [`has ${memories.length} memories, and only one is run here`];
  const bytes = (memories[0]?.minimum ?? 0) * PAGE_BYTES;
  const neededMiB = Math.ceil(bytes / 1_048_576);
  if (neededMiB <= memoryMiB) return [];
  return [`begins with ${neededMiB} MiB of memory, more than limits.memoryMiB (${memoryMiB}): raise it`];
}

function tableProblems({ tables }: ModuleHead): string[] {
  const elements = tables.reduce((sum, { minimum }) => sum + minimum, 0);
  if (tables.length > MAX_TABLES) return [`has ${tables.length} tables, and at most ${MAX_TABLES} are run here`];
  if (elements <= MAX_TABLE_ELEMENTS) return [];
  return [`has tables of ${elements} elements, and at most ${MAX_TABLE_ELEMENTS} are run here`];
}

/** A name in a message: someone else's, and of any length. */
const cut = (name: string) => (name.length > 64 ? `${name.slice(0, 64)}…` : name);
