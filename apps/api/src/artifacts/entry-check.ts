import { posix } from 'node:path';
import type { Found } from '@pilum/core/archives/judge.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { fileOf } from './code-source.ts';

/** The directory in which an instance finds its code. */
const CODE = '/code/';
/** Interpreters, whose first argument is a file to run. */
const INTERPRETERS = ['node', 'python', 'python3', 'sh', 'bash', 'dash', 'ruby', 'perl', 'php', 'bun'];

/** A file that must be in the code for a version to start. */
export interface NeededFile {
  /** The path relative to the directory of the code. */
  readonly path: string;
  /** The field of the spec that names the file. */
  readonly where: string;
  /** The use of the file. A program is executed directly; a script may be a directory for some interpreters. */
  readonly kind: 'module' | 'program' | 'script';
}

/** Returns the files that a spec names: the entry of a handler, or the program and script of a command if they lie in the code. */
export function neededFiles({ protocol, entry, command = [] }: Version['spec']): NeededFile[] {
  if (protocol === 'handler') return [{ path: fileOf(entry ?? ''), where: '/body/entry', kind: 'module' }];
  // The command of a WebAssembly module is its arguments.
  if (protocol !== 'stdio' && protocol !== 'http') return [];
  const [program = '', script = ''] = command;
  const own = pathInCode(program);
  if (own !== null) return [{ path: own, where: '/body/command/0', kind: 'program' }];
  // Only an argument with a file extension is surely a file; others could be names that the interpreter resolves.
  if (!INTERPRETERS.includes(posix.basename(program)) || !/^[^-].*\.[A-Za-z]+$/.test(script)) return [];
  const path = script.startsWith('/') ? pathInCode(script) : posix.normalize(script);
  return path === null || path.startsWith('..') ? [] : [{ path, where: '/body/command/1', kind: 'script' }];
}

/**
 * Returns a problem for each needed file that is missing or unusable.
 * @param names some files in the code, to be shown in the message
 */
export function fileProblems(
  needed: readonly NeededFile[],
  found: Readonly<Record<string, Found>>,
  names: readonly string[],
): Problem[] {
  return needed.flatMap(({ path, where, kind }) => {
    const what = problemOf(path, found[path] ?? 'missing', kind, names);
    return what === null ? [] : [{ where, what }];
  });
}

function problemOf(path: string, found: Found, kind: NeededFile['kind'], names: readonly string[]): string | null {
  if (found === 'machine' || found === 'program') return null;
  if (found === 'file') {
    return kind === 'program'
      ? `names ${path}, which the archive does not have as executable: chmod +x it before packing`
      : null;
  }
  if (found === 'directory') return kind === 'script' ? null : `names ${path}, which is a directory in the code`;
  const elsewhere = names.find((name) => name.endsWith(`/${path}`));
  const there = names.length === 0 ? 'nothing' : names.join(', ');
  const more =
    elsewhere === undefined
      ? `it has ${there}`
      : `it has ${elsewhere}: pack what is in that directory, and not the directory`;
  return `names ${path}, which the code does not have; ${more}`;
}

/** Returns a path relative to the directory of the code; null for a path elsewhere, or a name to look up in PATH. */
function pathInCode(path: string): string | null {
  if (path.startsWith(CODE)) return posix.normalize(path.slice(CODE.length));
  if (path.startsWith('/') || !path.includes('/')) return null;
  const inCode = posix.normalize(path);
  return inCode.startsWith('..') ? null : inCode;
}
