/**
 * Loaded by `node --import` before a worker: takes the fence out of the script that settles a task, so that a late
 * attempt overwrites the outcome. A checker that does not see that is worth nothing.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../../packages/core/src/store/lua/settle.lua', import.meta.url));
const FENCE = 'if standing then return standing end\n';

const { readFileSync } = fs;
const [before, after, ...more] = readFileSync(SCRIPT, 'utf8').split(FENCE);
if (after === undefined || more.length > 0) throw new Error(`${SCRIPT} has no line, or more than one: ${FENCE}`);

fs.readFileSync = ((...args: Parameters<typeof readFileSync>) =>
  args[0] === SCRIPT ? `${before}\n${after}` : readFileSync(...args)) as typeof readFileSync;
syncBuiltinESMExports();
