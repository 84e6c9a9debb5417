import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/**
 * The first of `names` that PATH has as a file we may run.
 * @param {readonly string[]} names
 * @param {string | undefined} path The value of PATH.
 * @returns {string | undefined} Its absolute path.
 */
export function findProgram(names, path) {
  for (const name of names) {
    for (const directory of (path ?? '').split(delimiter)) {
      if (!directory.startsWith('/')) continue;
      const file = join(directory, name);
      try {
        accessSync(file, constants.X_OK);
        if (statSync(file).isFile()) return file;
      } catch {
        // Not here.
      }
    }
  }
  return undefined;
}
