export interface LanguageRow {
  /** The endings of the files that it runs, without the dot. */
  readonly extensions: readonly string[];
  /** The file that is run where a spec names none. */
  readonly defaultFile: string;
  /** The export of that file which is called where a spec names none. */
  readonly defaultExport: string;
  /** Name of its interpreter in an image. */
  readonly interpreterInImage: string;
}

/** The languages of handlers: one row each. The first one is meant where neither `language` nor the ending of `entry` says another. */
export const LANGUAGES = {
  node: {
    extensions: ['mjs', 'js', 'cjs', 'ts', 'mts', 'cts'],
    defaultFile: 'index.mjs',
    defaultExport: 'default',
    interpreterInImage: 'node',
  },
  python: { extensions: ['py'], defaultFile: 'main.py', defaultExport: 'handler', interpreterInImage: 'python3' },
} as const satisfies Readonly<Record<string, LanguageRow>>;

export type Language = keyof typeof LANGUAGES;
export const LANGUAGE_NAMES = Object.keys(LANGUAGES) as Language[];
export const DEFAULT_LANGUAGE: Language = 'node';

/** The language of a file, by its ending; the default one for an ending that none of them has. */
export function languageOfFile(file: string): Language {
  return LANGUAGE_NAMES.find((name) => isOfLanguage(name, file)) ?? DEFAULT_LANGUAGE;
}

/** Whether a file has an ending that a language runs. */
export function isOfLanguage(language: Language, file: string): boolean {
  return LANGUAGES[language].extensions.some((extension) => file.endsWith(`.${extension}`));
}

/** Completes the entry of a handler: file and export, `file#export`, each with the default of its language where the spec has none. */
export function handlerEntry(language: Language, entry: string | undefined): string {
  const { defaultFile, defaultExport } = LANGUAGES[language];
  if (entry === undefined) return `${defaultFile}#${defaultExport}`;
  return entry.includes('#') ? entry : `${entry}#${defaultExport}`;
}
