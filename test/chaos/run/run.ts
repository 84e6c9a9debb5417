import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { check, type Verdict } from '../checker/checker.ts';
import { FaultDriver } from '../faults/fault-driver.ts';
import { drawSchedule } from '../faults/schedule.ts';
import { type FaultKind, KINDS, type Kind } from '../history/events.ts';
import { History, readHistory } from '../history/history.ts';
import { Caller } from '../load/caller.ts';
import { runErrand } from '../load/errand.ts';
import { artifactSpecs } from '../load/functions.ts';
import { HttpClient } from '../load/http-client.ts';
import { drawPlan, WEIGHTS } from '../load/plan.ts';
import { Cluster } from '../parts/cluster.ts';
import { Collector } from '../parts/collector.ts';
import { harvest } from './harvest.ts';
import { watchLag } from './lag.ts';
import { Progress } from './progress.ts';
import { Random } from './random.ts';

/** Callers at once; while there are so many, no further one comes. */
const MOST_CALLERS = 400;
/** How long callers may take to see the end of their tasks when the last fault is over, ms. */
const LAST_CALLERS_MS = 60_000;

export interface RunOptions {
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
  readonly workers: number;
  /** All workers keep their data in one directory. */
  readonly sharesData?: boolean;
  /** Where history and logs go. */
  readonly directory: string;
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}

/** A load of mixed tasks on a whole Pilum while faults strike; then all that it has left is read and checked. */
export async function runChaos(options: RunOptions): Promise<Verdict> {
  const { seed, signal, directory } = options;
  const random = new Random(seed);
  const history = new History(join(directory, 'history.jsonl'));
  const progress = new Progress();
  history.onEvent(progress.note);
  options.onProgress?.(progress);
  const stopWatching = watchLag(history);
  const collector = await Collector.open((report) => history.write(report));
  let cluster: Cluster | undefined;
  let client: HttpClient | undefined;
  try {
    const { workers, sharesData } = options;
    cluster = await Cluster.start({ directory, history, apis: 2, workers, sharesData });
    client = new HttpClient(cluster.ports);
    await deploy(client, collector.port);
    const caller = new Caller(client, history);
    const driver = new FaultDriver({ cluster, client, history, progress, random: random.fork('faults') });
    const faultsOver = new AbortController();
    const loadOver = load(options, { caller, history, progress }, random.fork('load'), faultsOver.signal);
    await driver.run(drawSchedule(random.fork('schedule'), options.timesEach, options.faults), signal);
    faultsOver.abort();
    await loadOver;
    signal.throwIfAborted();
    await harvest({ client, caller, history }, progress.tasks);
    await cluster.close();
  } finally {
    client?.close();
    await cluster?.close();
    collector.close();
    stopWatching();
    await history.close();
  }
  return check(await readHistory(history.path));
}

/** @throws Error where an artifact is refused */
export async function deploy(client: HttpClient, collectorPort: number): Promise<void> {
  for (const [id, spec] of artifactSpecs(collectorPort)) {
    const answer = await client.call({
      method: 'PUT',
      path: `/v1/artifacts/${id}`,
      body: JSON.stringify(spec),
      giveUpAfterMs: 10_000,
    });
    if (answer?.http !== 201) throw new Error(`${id} could not be deployed: ${answer?.http} ${answer?.text}`);
  }
}

interface LoadParts {
  readonly caller: Caller;
  readonly history: History;
  readonly progress: Progress;
}

/** Callers come at a steady rate; resolves when the last has gone. */
async function load(
  { tasks, rate, kinds = KINDS, seed, signal }: RunOptions,
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
    const errand = runErrand(plan, caller, history, leaving.signal).finally(() => {
      progress.leave(request);
      callers.delete(errand);
    });
    callers.add(errand);
    const nextAt = began + (request * 1000) / rate;
    await sleep(Math.max(0, nextAt - performance.now()));
    while (callers.size >= MOST_CALLERS && !signal.aborted) await Promise.race(callers);
  }
  const limit = setTimeout(() => leaving.abort(), signal.aborted ? 0 : LAST_CALLERS_MS);
  await Promise.all(callers);
  clearTimeout(limit);
}
