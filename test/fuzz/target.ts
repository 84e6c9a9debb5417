import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { IRawProperty } from 'fast-check';

/** What is tried with odd inputs, and must hold whatever they are. */
export interface FuzzTarget {
  /** As a person types it; that of its file as well. */
  readonly name: string;
  /** What must hold, as a sentence. */
  readonly holds: string;
  /** Makes what the property needs. */
  open(): Promise<OpenTarget>;
}

export interface OpenTarget {
  // biome-ignore lint/suspicious/noExplicitAny: each target has inputs of its own
  readonly property: IRawProperty<any>;
  /** Lets go of everything that was made. */
  close(): Promise<void>;
}

const TARGETS = join(import.meta.dirname, 'targets');

/** The names of all targets: each is one file in `targets`, which exports a {@link FuzzTarget} as `target`. */
export function targetNames(): string[] {
  return readdirSync(TARGETS)
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();
}

export async function loadTarget(name: string): Promise<FuzzTarget> {
  const { target } = (await import(pathToFileURL(join(TARGETS, `${name}.ts`)).href)) as { target: FuzzTarget };
  if (target.name !== name)
    throw new Error(`targets/${name}.ts has the target ${target.name}: both names are to be the same`);
  return target;
}
