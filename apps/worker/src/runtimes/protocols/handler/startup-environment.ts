import { isReadAtStart, READ_AT_START } from '@pilum/core/spec/early-variables.ts';
import type { Language } from '@pilum/core/spec/languages.ts';

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
  if (!Object.keys(env).some((name) => isReadAtStart(language, name))) return null;
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
