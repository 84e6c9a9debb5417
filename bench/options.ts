import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

export const FULL = { repeats: 5, sampleMs: 2000 } as const;

export interface Options {
  /** Parts to run, in order; all of them where none is named. */
  readonly parts: readonly string[];
  readonly repeats: number;
  readonly sampleMs: number;
  /** Directory of another checkout to compare this one with, in place of the floors; null for none. */
  readonly before: string | null;
}

/** Says what is wrong with the command line. */
export class UsageError extends Error {}

/**
 * Reads the command line.
 * @throws UsageError in words for a person
 */
export function readOptions(args: readonly string[], known: readonly string[]): Options {
  const { values, positionals } = parse(args);
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new UsageError(`There is no part ${unknown.join(', ')}. There are: ${known.join(', ')}.`);
  }
  const { before = null } = values;
  if (before !== null && positionals.length > 0)
    throw new UsageError('With --before no parts are named: it has its own.');
  return {
    before: before === null ? null : checkout(before),
    parts: positionals.length === 0 ? known : known.filter((name) => positionals.includes(name)),
    repeats: wholeNumber('--repeats', values.repeats, FULL.repeats),
    sampleMs: wholeNumber('--sample-ms', values['sample-ms'], FULL.sampleMs),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { repeats: { type: 'string' }, 'sample-ms': { type: 'string' }, before: { type: 'string' } },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function checkout(directory: string): string {
  const root = resolve(directory);
  for (const needed of ['apps/api/src/main.ts', 'node_modules/@pilum/core']) {
    if (existsSync(join(root, needed))) continue;
    throw new UsageError(
      `--before is the directory of a checkout with its packages installed; ${root} has no ${needed}.`,
    );
  }
  return root;
}

function wholeNumber(name: string, text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new UsageError(`${name} is a whole number from 1, not "${text}".`);
  return value;
}
