import { setTimeout as sleep } from 'node:timers/promises';
import { KINDS, type Kind } from '../history/events.ts';
import type { History } from '../history/history.ts';
import type { Progress } from '../run/progress.ts';
import type { Random } from '../run/random.ts';
import type { Caller } from './caller.ts';
import { runErrand } from './errand.ts';
import { drawPlan, WEIGHTS } from './plan.ts';

/** Callers at once; while there are so many, no further one comes. */
const MOST_CALLERS = 400;
/** How long callers may take to see the end of their tasks when the last fault is over, ms. */
const LAST_CALLERS_MS = 60_000;

export interface LoadOptions {
  readonly seed: string;
  /** Tasks that are asked for at least; the load goes on for as long as there are faults to come. */
  readonly tasks: number;
  /** New tasks a second. */
  readonly rate: number;
  /** Only these kinds of tasks. */
  readonly kinds?: readonly Kind[];
  /** Ends it at once. */
  readonly signal: AbortSignal;
}

/** Who calls, and what is written down of it. */
export interface LoadParts {
  readonly caller: Caller;
  readonly history: History;
  readonly progress: Progress;
}

/** Callers come at a steady rate; resolves when the last has gone. */
export async function steadyLoad(
  { tasks, rate, kinds = KINDS, seed, signal }: LoadOptions,
  { caller, history, progress }: LoadParts,
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
