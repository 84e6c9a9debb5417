/**
 * Loaded by `node --import` before a worker: takes the fence out of the script that settles a task, so that a late
 * attempt overwrites the outcome. A checker that does not see that is worth nothing.
 */
import { registerHooks } from 'node:module';

const SCRIPTS = '/packages/core/src/store/task-scripts.ts';
const FENCE = 'if standing then return standing end\n';

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.endsWith(SCRIPTS)) return loaded;
    const source = Buffer.from(loaded.source as Uint8Array).toString();
    if (source.split(FENCE).length !== 2) throw new Error(`${SCRIPTS} has no line, or more than one: ${FENCE}`);
    return { ...loaded, source: source.replace(FENCE, '') };
  },
});
