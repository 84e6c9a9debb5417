// `node strip-types.mjs <directory> <source.ts> …`: writes each source into the directory, without its types, as <name>.mjs
// that imports the others from beside itself.
import { readFileSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { basename, join } from 'node:path';

const [, , directory, ...sources] = process.argv;
process.removeAllListeners('warning'); // it says that the function is new

for (const source of sources) {
  const text = stripTypeScriptTypes(readFileSync(source, 'utf8'));
  const moved = text.replaceAll(/(\bfrom\s+)'(?:[^']*\/)?([a-z0-9-]+)\.ts'/g, "$1'./$2.mjs'");
  writeFileSync(join(directory, `${basename(source, '.ts')}.mjs`), moved);
}
