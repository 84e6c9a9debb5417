import { LANGUAGE_NAMES, LANGUAGES, type Language } from './languages.ts';

/** The form of the name of an interpreter: a language and the part of its version that says what code runs on it. */
export const INTERPRETER_NAME = '^(?:node[1-9][0-9]{1,2}|python3\\.[0-9]{1,2})$';

/** The interpreters that a worker can have: the oldest of each language that runs handlers. */
const OLDEST = { node: [20], python: [3, 8] } as const satisfies Record<Language, readonly number[]>;

/** Returns the name of the interpreter of a language that has a version, such as `node22` or `python3.12`; null for what is no version. */
export function interpreterName(language: Language, version: string): string | null {
  const [major, minor] = version.split('.');
  const name = language === 'node' ? `node${major}` : `python${major}.${minor}`;
  return new RegExp(INTERPRETER_NAME).test(name) ? name : null;
}

/** Returns the language of an interpreter, by its name. */
export function languageOfInterpreter(name: string): Language {
  return LANGUAGE_NAMES.find((language) => name.startsWith(language)) ?? 'node';
}

/** Whether the bootstraps of handlers run on a version of an interpreter. */
export function isRecentEnough(language: Language, version: string): boolean {
  return compareVersions(version, OLDEST[language].join('.')) >= 0;
}

/** Returns the oldest version of a language that is used, for a person to read. */
export const oldestOf = (language: Language): string => OLDEST[language].join('.');

/** Compares two versions number by number: above 0 where the first one is newer. */
export function compareVersions(one: string, other: string): number {
  const [ones, others] = [one, other].map((version) =>
    version.split('.').map((part) => Number.parseInt(part, 10) || 0),
  );
  for (let index = 0; index < Math.max(ones?.length ?? 0, others?.length ?? 0); index++) {
    const difference = (ones?.[index] ?? 0) - (others?.[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The files that an interpreter is found under by whoever looks for one of its language on PATH. */
export function programNames(language: Language): readonly string[] {
  return language === 'node' ? ['node'] : [LANGUAGES.python.interpreterInImage, 'python'];
}
