import { posix } from 'node:path';
import type { Found } from '@pilum/core/archives/judge.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { fileOf } from './code-source.ts';

/** Where an instance finds its code. */
const CODE = '/code/';
/** Programs whose first argument is a file to run. */
const INTERPRETERS = ['node', 'python', 'python3', 'sh', 'bash', 'dash', 'ruby', 'perl', 'php', 'bun'];

/** A file of the code that has to be there for a version to start. */
export interface NeededFile {
  /** From the directory of the code. */
  readonly path: string;
  /** Where the spec names it. */
  readonly where: string;
  /** A program is executed itself; a script may be a directory, for some interpreters. */
  readonly kind: 'module' | 'program' | 'script';
}

/** The files that a spec names: the entry of a handler, or what a command begins with where that lies in the code. */
export function neededFiles({ protocol, entry, command = [] }: Version['spec']): NeededFile[] {
  if (protocol === 'handler') return [{ path: fileOf(entry ?? ''), where: '/body/entry', kind: 'module' }];
  // To a module a command is what it is given.
  if (protocol !== 'stdio' && protocol !== 'http') return [];
  const [program = '', script = ''] = command;
  const own = pathInCode(program);
  if (own !== null) return [{ path: own, where: '/body/command/0', kind: 'program' }];
  // With an ending it is a file, and no name that the interpreter would look for by itself.
  if (!INTERPRETERS.includes(posix.basename(program)) || !/^[^-].*\.[A-Za-z]+$/.test(script)) return [];
  const path = script.startsWith('/') ? pathInCode(script) : posix.normalize(script);
  return path === null || path.startsWith('..') ? [] : [{ path, where: '/body/command/1', kind: 'script' }];
}

/**
 * What is wrong with the files that are needed.
 * @param names some files that are there, for whoever looks for another
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

/** A path from the directory of the code; null for one that lies elsewhere, or is looked for in PATH. */
function pathInCode(path: string): string | null {
  if (path.startsWith(CODE)) return posix.normalize(path.slice(CODE.length));
  if (path.startsWith('/') || !path.includes('/')) return null;
  const inCode = posix.normalize(path);
  return inCode.startsWith('..') ? null : inCode;
}
