import type { Language } from '@pilum/core/spec/languages.ts';

/** Variables that an interpreter, its loader or its libraries read once, before any code of a function runs. */
const READ_BY_ALL =
  /^(?:LD_|DYLD_|GLIBC_TUNABLES$|GCONV_PATH$|LOCPATH$|MALLOC_|LANG$|LANGUAGE$|LC_|OPENSSL_|SSL_CERT_)/;
const READ_AT_START = {
  // NODE_ENV and NODE_CONFIG… are read by packages, and UV_THREADPOOL_SIZE with the first use of a thread: later than this.
  node: /^(?:NODE_(?!ENV$|CONFIG)|UV_(?!THREADPOOL_SIZE$)|SSLKEYLOGFILE$)/,
  // Two that many set: the bootstrap heeds the one itself, and never writes bytecode.
  python: /^PYTHON(?!UNBUFFERED$|DONTWRITEBYTECODE$)(?:[A-Z]|_(?:GIL|CPU_COUNT|JIT|PERF|TLBC))/,
} as const;

/** The variable by which a bootstrap finds its worker: never the function's to say. */
const OURS = 'PILUM_CHANNEL';

/**
 * Returns what an interpreter has to be started with so that the variables of a version count as they would for any
 * other program; null where nothing of it is read that early, and it can be told later.
 */
export function startupEnvironment(
  language: Language,
  env: Readonly<Record<string, string>>,
): Record<string, string> | null {
  const isEarly = (name: string) => READ_BY_ALL.test(name) || READ_AT_START[language].test(name);
  if (!Object.keys(env).some(isEarly)) return null;
  // All of them: one may say how another is to be read, as NODE_USE_ENV_PROXY does of HTTPS_PROXY.
  const { [OURS]: _ours, ...early } = env;
  return early;
}

/** Tells whether a limit for the heap is given by `NODE_OPTIONS`, where one on the command line would win. */
export function limitsHeap(env: Readonly<Record<string, string>>): boolean {
  return /--max[-_](?:old[-_]space|heap)[-_]size/.test(env.NODE_OPTIONS ?? '');
}

/** Tells whether Python is to look at its variables, which it ignores otherwise. */
export function speaksToPython(env: Readonly<Record<string, string>>): boolean {
  return Object.keys(env).some((name) => READ_AT_START.python.test(name));
}
