/** Numbers of errors (WASI preview 1, `errno`). */
export const ERRNO = {
  SUCCESS: 0,
  ACCES: 2,
  BADF: 8,
  FAULT: 21,
  ILSEQ: 25,
  INVAL: 28,
  IO: 29,
  ISDIR: 31,
  LOOP: 32,
  MFILE: 33,
  NAMETOOLONG: 37,
  NFILE: 41,
  NOENT: 44,
  NOSYS: 52,
  NOTDIR: 54,
  PERM: 63,
  SPIPE: 70,
} as const;
export type Errno = (typeof ERRNO)[keyof typeof ERRNO];

/** The error that a guest is told for a call that could not be done. */
export class WasiError extends Error {
  readonly errno: Errno;

  constructor(errno: Errno) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

const CODES: Readonly<Record<string, Errno>> = {
  EACCES: ERRNO.ACCES,
  EISDIR: ERRNO.ISDIR,
  ELOOP: ERRNO.LOOP,
  EMFILE: ERRNO.MFILE,
  ENAMETOOLONG: ERRNO.NAMETOOLONG,
  ENFILE: ERRNO.NFILE,
  ENOENT: ERRNO.NOENT,
  ENOTDIR: ERRNO.NOTDIR,
};

/** Asks the file system for something; what it refuses is said to the guest. */
export function onDisk<T>(ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    const { code = '', syscall } = error as NodeJS.ErrnoException;
    if (syscall === undefined) throw error;
    throw new WasiError(CODES[code] ?? ERRNO.IO);
  }
}
