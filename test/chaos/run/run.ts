import { setTimeout as sleep } from 'node:timers/promises';
import type { Verdict } from '../checker/checker.ts';
import { FaultDriver } from '../faults/fault-driver.ts';
import { drawSchedule } from '../faults/schedule.ts';
import { type FaultKind, KINDS, type Kind } from '../history/events.ts';
import { runErrand } from '../load/errand.ts';
import { drawPlan, WEIGHTS } from '../load/plan.ts';
import { Random } from './random.ts';
import { onStage, type Stage, type StageOptions } from './stage.ts';

/** Callers at once; while there are so many, no further one comes. */
const MOST_CALLERS = 400;
/** How long callers may take to see the end of their tasks when the last fault is over, ms. */
const LAST_CALLERS_MS = 60_000;

export interface RunOptions extends StageOptions {
  readonly seed: string;
  /** Tasks that are asked for at least; the load goes on for as long as there are faults to come. */
  readonly tasks: number;
  /** New tasks a second. */
  readonly rate: number;
  /** Only these kinds of tasks. */
  readonly kinds?: readonly Kind[];
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
    const loadOver = load(options, stage, random.fork('load'), faultsOver.signal);
    try {
      await driver.run(drawSchedule(random.fork('schedule'), options.timesEach, options.faults), options.signal);
    } finally {
      faultsOver.abort();
      await loadOver;
    }
  });
}

/** Callers come at a steady rate; resolves when the last has gone. */
async function load(
  { tasks, rate, kinds = KINDS, seed, signal }: RunOptions,
  { caller, history, progress }: Stage,
  random: Random,
  faultsOver: AbortSignal,
): Promise<void> {
  const weights = Object.fromEntries(kinds.map((kind) => [kind, WEIGHTS[kind]])) as Partial<Record<Kind, number>>;
  const leaving = new AbortController();
  const callers = new Set<Promise<void>>();
  const began = performance.now();
  for (let request = 1; (request <= tasks || !faultsOver.aborted) && !signal.aborted; request++) {
    const plan = drawPlan(request, random.weighted<Kind>(weights), random, seed);
    const errand = runErrand(plan, caller, history, AbortSignal.any([leaving.signal, signal])).finally(() => {
      progress.leave(request);
      callers.delete(errand);
    });
    callers.add(errand);
    const nextAt = began + (request * 1000) / rate;
    await sleep(Math.max(0, nextAt - performance.now()));
    while (callers.size >= MOST_CALLERS && !signal.aborted) await Promise.race(callers);
  }
  const limit = setTimeout(() => leaving.abort(), LAST_CALLERS_MS);
  await Promise.all(callers);
  clearTimeout(limit);
}
