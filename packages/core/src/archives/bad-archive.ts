/** A problem of an archive, in words for whoever made it; never with a path of the machine that reads it. */
export interface ArchiveProblem {
  /** The member it is about, as the archive names it; null where it is about all of it. */
  readonly member: string | null;
  readonly what: string;
  readonly hint?: string;
  /** Whether it is an archive of another format than it was said to be, or none. */
  readonly isOtherFormat?: boolean;
}

/** An archive that is not unpacked, nor any part of it. */
export class BadArchive extends Error {
  readonly problem: ArchiveProblem;

  constructor(what: string, member: string | null = null, hint?: string, isOtherFormat = false) {
    const named = member === null ? null : printable(member);
    super(named === null ? what : `${named} ${what}`);
    this.problem = {
      member: named,
      what,
      ...(hint === undefined ? {} : { hint }),
      ...(isOtherFormat ? { isOtherFormat } : {}),
    };
  }
}

/** One sentence of a problem: the member and what is wrong with it. */
export const sentenceOf = ({ member, what }: ArchiveProblem): string => (member === null ? what : `${member} ${what}`);

const MAX_SHOWN = 200;

/** A name as it may be shown: one line of bounded length. */
export function printable(name: string): string {
  const shown = name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) =>
    JSON.stringify(character).length > 3
      ? JSON.stringify(character).slice(1, -1)
      : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return shown.length > MAX_SHOWN ? `${shown.slice(0, MAX_SHOWN)}…` : shown;
}
