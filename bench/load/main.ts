/** The process that calls. It is told what to do by its parent, and ends with it. */
import type { LoadAnswer, LoadRequest } from './plan.ts';
import { runLoad } from './run-load.ts';

const answer = (message: LoadAnswer) => process.send?.(message);

process.on('message', ({ id, plan }: LoadRequest) => {
  runLoad(plan).then(
    (sample) => answer({ id, sample }),
    (error: unknown) => answer({ id, error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
