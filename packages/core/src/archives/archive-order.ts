import type { ArchiveLimits } from './archive-limits.ts';
import type { ArchiveProblem } from './bad-archive.ts';
import type { Verdict } from './judge.ts';
import type { UnpackedFile } from './unpack.ts';

export const ARCHIVE_FORMATS = ['tar', 'zip'] as const;
export type ArchiveFormat = (typeof ARCHIVE_FORMATS)[number];

/** The order that a process that reads archives is given. */
export interface ArchiveOrder {
  readonly format: ArchiveFormat;
  readonly limits: ArchiveLimits;
  /** An empty directory to unpack it into; left out where it is only judged. */
  readonly directory?: string;
  /** Paths in it that somebody wants to know of. */
  readonly wanted?: readonly string[];
}

/** The reply of the process that reads archives. */
export type ArchiveReply =
  | { readonly verdict: Verdict }
  | { readonly files: readonly UnpackedFile[] }
  | { readonly problem: ArchiveProblem }
  /** Not the archive's fault: a full disk, for example. */
  | { readonly failure: string };
