import { type TSchemaOptions, Type } from 'typebox';

/**
 * Text of users ends in arguments, environments, files, keys and headers, and each of them ends at a character of its own. Which
 * characters a text may have is said here, once: where it comes in the schemas ask for it, and what makes arguments or containers
 * of it asks again.
 */

/** Half of a pair of UTF-16: no character, and in UTF-8 it becomes another one. Patterns are read with the flag u, so that a whole pair is none. */
const LONE_SURROGATES = '\\ud800-\\udfff';
/** C0 and C1 with DEL, and what else ends a line. */
const CONTROLS = '\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029';

/** Text that can be an argument of a program or the value of a variable: it ends at a NUL for whoever is given it. */
export const argumentText = (maxLength: number, options: TSchemaOptions = {}) =>
  Type.String({
    maxLength,
    pattern: `^[^\\u0000${LONE_SURROGATES}]*$`,
    description: 'text without NUL characters and lone surrogates.',
    ...options,
  });

/** Text that is one line wherever it is shown: in a log, a header or on a terminal. */
export const lineText = (maxLength: number, options: TSchemaOptions = {}) =>
  Type.String({
    maxLength,
    pattern: `^[^${CONTROLS}${LONE_SURROGATES}]*$`,
    description: 'one line of text, without control characters and lone surrogates.',
    ...options,
  });

/** Characters of a path of a file in the code at most. */
const MOST_PATH = 255;
/** With the name of what it exports; asked first, so that no more than that is ever looked at. */
const MOST_WITH_EXPORT = MOST_PATH + 129;
/** The path of a file within a directory, for a pattern: relative, never above it, and one line. Nothing in it is `#`. */
const INNER_PATH = `(?=.{1,${MOST_WITH_EXPORT}}$)(?!/)(?!(?:.*/)?\\.\\.(?:/|#|$))[^#${CONTROLS}${LONE_SURROGATES}]{1,${MOST_PATH}}`;

/** The path of a file in a directory of code. */
export const innerPath = (options: TSchemaOptions = {}) =>
  Type.String({
    pattern: `^${INNER_PATH}$`,
    description: 'the path of a file within the code, such as lib/index.mjs.',
    ...options,
  });

/** The same, and after a `#` the name of what the file exports. */
export const innerPathWithExport = (options: TSchemaOptions = {}) =>
  Type.String({ pattern: `^${INNER_PATH}(?:#[A-Za-z_$][A-Za-z0-9_$]{0,127})?$`, ...options });

/** The name of an environment variable, as a pattern. */
export const VARIABLE_NAME = '^[A-Za-z_][A-Za-z0-9_]{0,254}$';

/** Whether a text can be an argument or a variable as it is: see {@link argumentText}. */
export function isArgument(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}
