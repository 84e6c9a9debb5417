import { FRAME_TYPES } from '../apps/worker/src/runtimes/protocols/handler/frames.ts';
import { CHUNK_KINDS, WIRE_LIMITS } from '../apps/worker/src/runtimes/protocols/handler/wire-limits.ts';

const NOTE = 'From frames.ts and wire-limits.ts, by `npm run docs`; change it there.';

/** Every number that a bootstrap shares with the worker, by its name. */
export const WIRE_CONSTANTS: Readonly<Record<string, number>> = {
  ...FRAME_TYPES,
  ...Object.fromEntries(Object.entries(CHUNK_KINDS).map(([name, kind]) => [`CHUNK_${name}`, kind])),
  ...WIRE_LIMITS,
};

/** The way in which a language writes these numbers, and what stands around them. */
const LANGUAGES = {
  node: { comment: '//', line: (name: string, value: number) => `const ${name} = ${value};` },
  python: { comment: '#', line: (name: string, value: number) => `_${name} = ${value}` },
} as const;

/**
 * The first part of a bootstrap with the numbers as they are now, between its two marks: those that the bootstrap uses.
 * @param others its other parts
 * @throws Error where it has no marks
 */
export function withWireConstants(language: keyof typeof LANGUAGES, source: string, others: string): string {
  const { comment, line } = LANGUAGES[language];
  const [begin, end] = [`${comment} <generated>\n`, `${comment} </generated>\n`];
  const [before, rest] = source.split(begin);
  const [, after] = rest?.split(end) ?? [];
  if (before === undefined || after === undefined) throw new Error(`a bootstrap of ${language} has no ${begin.trim()}`);
  const isUsed = (name: string) =>
    new RegExp(`\\b${language === 'python' ? '_' : ''}${name}\\b`).test(before + after + others);
  const lines = Object.entries(WIRE_CONSTANTS)
    .filter(([name]) => isUsed(name))
    .map(([name, value]) => line(name, value));
  return [before, begin, `${comment} ${NOTE}\n`, ...lines.map((text) => `${text}\n`), end, after].join('');
}

/** The table of frames and that of limits, for the page on the wire. */
export function wireTables(): { types: string; limits: string } {
  const rows = (entries: Readonly<Record<string, number>>) =>
    Object.entries(entries).map(([name, value]) => `| \`${name}\` | ${value} |`);
  return {
    types: ['| type | number |', '|---|---|', ...rows(FRAME_TYPES)].join('\n'),
    limits: [
      '| limit | value |',
      '|---|---|',
      ...rows(WIRE_LIMITS),
      ...rows(Object.fromEntries(Object.entries(CHUNK_KINDS).map(([name, kind]) => [`kind of chunk: ${name}`, kind]))),
    ].join('\n'),
  };
}
