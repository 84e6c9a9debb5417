import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

/** Commands of a page that stand together, in a fence with the word `sh`. */
export interface CommandBlock {
  /** Number of its first line of commands in the page, from 1. */
  readonly line: number;
  readonly commands: string;
  /** What stands in a comment before it; null where nothing does. */
  readonly mark: Mark | null;
  /** Text of the fence after it, with the word `text` or `json`, which is what the commands print; null where there is none. */
  readonly output: string | null;
}

/** Says that a block is not typed as all others are. */
export type Mark =
  /** Nobody can run it here. */
  | { readonly kind: 'not run'; readonly reason: string }
  /** A test of its own does. */
  | { readonly kind: 'run by'; readonly test: string }
  /** In the repository, and not in a directory of its own. */
  | { readonly kind: 'in the repository' }
  /** Where a machine has it. */
  | { readonly kind: 'needs'; readonly what: string };

/** A fence as it stands in a page. */
export interface Fence {
  readonly line: number;
  readonly language: string;
  readonly text: string;
  readonly mark: string | null;
  /** Whether nothing but blank lines stands between it and the fence before. */
  readonly followsFence: boolean;
}

/** Every page of Markdown that is written by hand, by its path from the root. */
export function pages(): string[] {
  const below = (directory: string) =>
    readdirSync(join(ROOT, directory), { recursive: true })
      .map((name) => `${directory}/${name}`)
      .filter((path) => path.endsWith('.md') && !path.includes('/node_modules/'));
  const top = readdirSync(ROOT).filter((name) => name.endsWith('.md'));
  return [...top, ...below('docs'), ...below('examples')].sort();
}

export const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8');

/** All fences of a text, in their order. */
export function fencesOf(text: string): Fence[] {
  const found: Fence[] = [];
  const lines = text.split('\n');
  let gap: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const [, indent, ticks, language = ''] = /^( {0,3})(```+)\s*(\S*)/.exec(lines[i] ?? '') ?? [];
    if (ticks === undefined) {
      gap.push(lines[i] ?? '');
      continue;
    }
    const begin = i + 1;
    while (i + 1 < lines.length && lines[i + 1]?.trim() !== ticks) i++;
    const inner = lines.slice(begin, i + 1).map((line) => line.replace(new RegExp(`^ {0,${indent?.length ?? 0}}`), ''));
    const before = gap.filter((line) => line.trim() !== '');
    found.push({
      line: begin + 1,
      language,
      text: `${inner.join('\n')}\n`,
      mark: /^<!-- (.*) -->$/.exec(before.at(-1)?.trim() ?? '')?.[1] ?? null,
      followsFence: found.length > 0 && before.length === 0,
    });
    gap = [];
    i++;
  }
  return found;
}

/** The blocks of commands of a text, in their order. */
export function commandsOf(text: string): CommandBlock[] {
  const fences = fencesOf(text);
  return fences.flatMap(({ line, language, text: commands, mark }, i) => {
    if (language !== 'sh') return [];
    const next = fences[i + 1];
    const hasOutput = next?.followsFence === true && ['text', 'json'].includes(next.language);
    return [{ line, commands, mark: mark === null ? null : readMark(mark), output: hasOutput ? next.text : null }];
  });
}

/** @throws Error for a comment that is none of the marks. */
function readMark(text: string): Mark {
  const [, kind = '', rest = ''] = /^(not run|run by|needs): (.+)$/.exec(text) ?? [];
  if (kind === 'not run') return { kind, reason: rest };
  if (kind === 'run by') return { kind, test: rest };
  if (kind === 'needs') return { kind, what: rest };
  if (text === 'in the repository') return { kind: 'in the repository' };
  throw new Error(`<!-- ${text} --> before a block of commands is no mark that test/docs knows`);
}

/** Lines of a page that stand in no fence, with their numbers. */
export function proseOf(text: string): { line: number; text: string }[] {
  const inFence = new Set<number>();
  for (const fence of fencesOf(text)) {
    const last = fence.line + fence.text.split('\n').length - 1;
    for (let line = fence.line - 1; line <= last; line++) inFence.add(line);
  }
  return text
    .split('\n')
    .map((line, i) => ({ line: i + 1, text: line }))
    .filter(({ line }) => !inFence.has(line));
}
