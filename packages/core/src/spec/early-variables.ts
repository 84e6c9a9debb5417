// Variables that something reads before a program begins: whoever gives them changes how it is started.

/** Variables that an interpreter, its loader or its libraries read once, before any code of a function runs. */
const READ_BY_ALL =
  /^(?:LD_|DYLD_|GLIBC_TUNABLES$|GCONV_PATH$|LOCPATH$|MALLOC_|LANG$|LANGUAGE$|LC_|OPENSSL_|SSL_CERT_)/;

/** The same, of one language. */
export const READ_AT_START = {
  // NODE_ENV and NODE_CONFIG… are read by packages, and UV_THREADPOOL_SIZE with the first use of a thread: later than this.
  node: /^(?:NODE_(?!ENV$|CONFIG)|UV_(?!THREADPOOL_SIZE$)|SSLKEYLOGFILE$)/,
  // Two that many set: the bootstrap heeds the one itself, and never writes bytecode.
  python: /^PYTHON(?!UNBUFFERED$|DONTWRITEBYTECODE$)(?:[A-Z]|_(?:GIL|CPU_COUNT|JIT|PERF|TLBC))/,
} as const;

/** The variables that the dynamic loader, the C library and the shells that may be /bin/sh do more for than hand them on. */
const READ_BY_SHELLS = /^(LD_|BASH|GLIBC_TUNABLES$|GCONV_PATH$|ENV$|SHELLOPTS$|POSIXLY_CORRECT$|PS[0-4]$|IFS$|CDPATH$)/;

/** Tells whether a loader or a shell does more for a variable than hand it on. */
export const isReadByShells = (name: string) => READ_BY_SHELLS.test(name);

/** Tells whether an interpreter of a language, or whatever it is made of, reads a variable before the code of a function runs. */
export const isReadAtStart = (language: keyof typeof READ_AT_START, name: string) =>
  READ_BY_ALL.test(name) || READ_AT_START[language].test(name);

/** Tells whether anything may read a variable before a program runs; PATH and HOME are where it begins. */
export const isReadBeforeStart = (name: string) =>
  isReadByShells(name) || isReadAtStart('node', name) || isReadAtStart('python', name) || /^(?:PATH|HOME)$/.test(name);
