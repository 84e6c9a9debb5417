/** Limits on what an archive may cost to unpack. Each is judged before it is paid. */
export interface ArchiveLimits {
  /** Bytes of all files together, as they lie on disk, holes and hard links counted in full. */
  readonly unpackedBytes: number;
  /** Entries in the archive. */
  readonly members: number;
  /** Files, links and directories that come of it; those directories too that are only part of a path. */
  readonly nodes: number;
  /** Directories that stand in each other. */
  readonly depth: number;
  readonly pathBytes: number;
  readonly nameBytes: number;
  /** All paths together: a worker keeps them in memory. */
  readonly allPathBytes: number;
  /** Bytes in front of one member: long names, and headers of the pax format. */
  readonly headerBytes: number;
  /** Factor by which a compressed archive may grow, above {@link ArchiveLimits.freeBytes}. */
  readonly ratio: number;
  /** Up to here nobody asks how well it was compressed: a file of zeros shrinks a thousand times. */
  readonly freeBytes: number;
}

const MEBIBYTE = 1024 * 1024;

export const ARCHIVE_LIMITS: ArchiveLimits = {
  unpackedBytes: 1024 * MEBIBYTE,
  members: 100_000,
  nodes: 100_000,
  depth: 64,
  pathBytes: 1024,
  nameBytes: 255,
  allPathBytes: 16 * MEBIBYTE,
  headerBytes: MEBIBYTE,
  ratio: 200,
  freeBytes: 64 * MEBIBYTE,
};

/** Longest time that an archive may be judged or unpacked, ms; then what does it is killed. */
export const ARCHIVE_TIME_LIMIT_MS = 60_000;
