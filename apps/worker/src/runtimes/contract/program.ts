import type { PlacedLayer } from './layers.ts';
import type { OVERHEADS } from './overheads.ts';

/** A command for an instance, said without the machine or image that it will run on. */
export interface Program {
  readonly kind: keyof typeof OVERHEADS;
  /** Variables beyond those that every instance has. */
  readonly env: Readonly<Record<string, string>>;
  /** The command, given where things lie for the instance; null for the one that its image has. */
  readonly command: (places: Places) => readonly string[] | null;
  readonly stdin: 'pipe' | 'ignore';
  /**
   * Tells whether the worker and the command speak over a socket of their own: fd 3, or the one that `PILUM_CHANNEL` names.
   */
  readonly channel: boolean;
  /** A descriptor of this process that the command has as its fd 6. */
  readonly listener?: number;
}

/** The paths at which an instance finds things. */
export interface Places {
  readonly node: string;
  readonly python: string;
  /** The directory that goes first on PATH, where the version asks for an interpreter; left out where it does not. */
  readonly interpreters?: string;
  readonly bootstrapDirectory: string;
  /** The directory of the code; null where the version has no code. */
  readonly codeDirectory: string | null;
  readonly layers: readonly PlacedLayer[];
  /** The variables that an image has set already; empty without an image. */
  readonly environment: Readonly<Record<string, string>>;
}
