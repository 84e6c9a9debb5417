import type { Verdict } from '../checker/checker.ts';
import { FaultDriver } from '../faults/fault-driver.ts';
import { drawSchedule } from '../faults/schedule.ts';
import type { FaultKind } from '../history/events.ts';
import { type LoadOptions, steadyLoad } from '../load/steady-load.ts';
import { Random } from './random.ts';
import { onStage, type StageOptions } from './stage.ts';

export interface RunOptions extends StageOptions, LoadOptions {
  /** Each kind of fault strikes at least so often. */
  readonly timesEach: number;
  readonly faults?: readonly FaultKind[];
}

/** A load of mixed tasks on a whole Pilum while faults strike; then all that it has left is read and checked. */
export async function runChaos(options: RunOptions): Promise<Verdict> {
  const random = new Random(options.seed);
  return await onStage(options, async (stage) => {
    const driver = new FaultDriver({ ...stage, random: random.fork('faults') });
    const faultsOver = new AbortController();
    const loadOver = steadyLoad(options, stage, random.fork('load'), faultsOver.signal);
    try {
      await driver.run(drawSchedule(random.fork('schedule'), options.timesEach, options.faults), options.signal);
    } finally {
      faultsOver.abort();
      await loadOver;
    }
  });
}
