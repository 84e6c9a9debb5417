import { waitFor } from '../../support/wait-for.ts';
import type { Verdict } from '../checker/checker.ts';
import { runErrand } from '../load/errand.ts';
import { drawPlan } from '../load/plan.ts';
import { Random } from './random.ts';
import { onStage, type StageOptions } from './stage.ts';

const TASKS = 4;
/** Time for a worker that goes on again to bring what it has, ms. */
const LATE_MS = 3000;

/**
 * One worker stops while it runs tasks; another runs and settles them; then the first goes on and comes with outcomes of
 * its own. Nothing is left to chance: each of the tasks has two results, and the fence decides.
 */
export async function runLateAttempts(options: Omit<StageOptions, 'workers'>): Promise<Verdict> {
  return await onStage({ ...options, workers: 2 }, async ({ cluster, caller, history, progress }) => {
    const [first, second] = cluster.workers;
    let started = 0;
    history.onEvent(({ type }) => {
      if (type === 'start') started++;
    });
    // So that the first has them all.
    second?.part?.signal('SIGSTOP');
    const random = new Random('late attempts');
    const errands = Array.from({ length: TASKS }, (_, index) => {
      const plan = drawPlan(index + 1, 'async', random, 'late');
      const slow = { ...plan, input: { ...plan.input, ms: 2000 }, readWaitMs: 1000 };
      return runErrand(slow, caller, history, options.signal);
    });
    await waitFor(() => started === TASKS, { what: 'the start of all tasks' });
    first?.part?.signal('SIGSTOP');
    second?.part?.signal('SIGCONT');
    await waitFor(() => progress.open === 0, { what: 'their end by the other worker' });
    await Promise.all(errands);
    first?.part?.signal('SIGCONT');
    const until = Date.now() + LATE_MS;
    await waitFor(() => Date.now() > until, { what: 'late outcomes' });
  });
}
