/** A part of a file that is there; what lies between parts are zeros. */
export interface Piece {
  readonly at: number;
  readonly bytes: Buffer;
}

/** One entry of an archive, whatever kind of archive it is. */
export interface Member {
  /** As it is written, not judged yet. */
  readonly name: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'link';
  /** Bytes of the file, holes included. */
  readonly sizeBytes: number;
  readonly isExecutable: boolean;
  /** Time at which it was changed, s since 1970; null where that is not known. */
  readonly mtimeS: number | null;
  /** Target of a link, as it is written. */
  readonly target: string;
  /** Its content, in order. What was not read when the next member is asked for is skipped. */
  pieces(): AsyncIterable<Piece>;
}

/** Reads an archive from its beginning. It may be called again for another look. */
export type MemberReader = () => AsyncIterable<Member>;
