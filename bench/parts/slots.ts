import { plainRow } from '../report/row.ts';
import type { Part } from '../support/bench.ts';
import { WAITS } from '../support/functions.ts';
import { quantile } from '../support/statistics.ts';
import { undisturbed } from '../support/undisturbed.ts';
import { Pilum, USUAL_CAPACITY } from '../targets/pilum.ts';

const QUEUES = 100;
const TASKS_A_QUEUE = 20;
const TASK_MS = 20;
const AT_ONCE = 16;

interface Taken {
  readonly atOnce: number;
  readonly cold: number;
  /** From the moment a task is taken until it is on record, but for its run, ms. */
  readonly besideP99Ms: number;
}

/** A hundred functions with a backlog each, and one worker with its usual slots. */
export const slots: Part = {
  name: 'slots',
  run: async (bench) => {
    const pilum = await Pilum.start(bench.scope);
    const ids = Array.from({ length: QUEUES }, (_, i) => `slots-${i}`);
    // A small one each, so that all of them may stay warm.
    await inParallel(ids, (id) => pilum.deploy(id, WAITS, { max: 2 }, { memoryMiB: 64 }));
    await inParallel(ids, (id) => pilum.call('POST', `/v1/artifacts/${id}/invoke`, TASK_MS));
    const taken: Taken[] = [];
    while (taken.length < bench.repeats) {
      const one = await undisturbed(() => takeOne(pilum, ids));
      taken.push(one);
      console.error(`  ${one.atOnce} at once, ${one.cold} cold, p99 beside the run ${one.besideP99Ms.toFixed(1)} ms`);
    }
    const measure = `${QUEUES} busy queues, ${USUAL_CAPACITY} slots`;
    return [
      plainRow({
        measure: `${measure}: tasks at once`,
        unit: 'tasks',
        figures: taken.map(({ atOnce }) => atOnce),
        goal: { atMost: USUAL_CAPACITY },
      }),
      plainRow({ measure: `${measure}: cold starts`, unit: 'tasks', figures: taken.map(({ cold }) => cold) }),
      plainRow({
        measure: `${measure}: taken by the worker, and neither run nor on record: p99 of the warm ones`,
        unit: 'ms',
        figures: taken.map(({ besideP99Ms }) => besideP99Ms),
        goal: { atMost: 50 },
      }),
    ];
  },
};

async function takeOne(pilum: Pilum, ids: readonly string[]): Promise<Taken> {
  const calls = ids.flatMap((id) => Array.from({ length: TASKS_A_QUEUE }, () => id));
  const taskIds: string[] = [];
  // In turns, so that every queue has a backlog all the time.
  const inTurns = calls.map((_, i) => ids[i % ids.length] ?? '');
  await inParallel(inTurns, async (id) => {
    const { taskId } = await pilum.call('POST', `/v1/artifacts/${id}/invoke?mode=async`, TASK_MS);
    taskIds.push(taskId);
  });
  const runs: { from: number; to: number }[] = [];
  const beside: number[] = [];
  let cold = 0;
  await inParallel(taskIds, async (taskId) => {
    const { timing, attempts } = await pilum.call('GET', `/v1/tasks/${taskId}?wait=60s`);
    const [{ startedAt, finishedAt, runMs }] = attempts;
    const [from, to] = [Date.parse(startedAt), Date.parse(finishedAt)];
    runs.push({ from, to });
    if (timing.coldStart) cold++;
    else beside.push(to - from - runMs);
  });
  return { atOnce: mostAtOnce(runs), cold, besideP99Ms: quantile(beside, 0.99) };
}

/** Counts those that were under way at one moment; times are whole ms, so that one may end in the ms in which the next begins. */
function mostAtOnce(runs: readonly { from: number; to: number }[]): number {
  const changes = runs.flatMap(({ from, to }) => [
    { at: from, by: 1 },
    { at: to, by: -1 },
  ]);
  changes.sort((a, b) => a.at - b.at || a.by - b.by);
  let now = 0;
  let most = 0;
  for (const { by } of changes) {
    now += by;
    most = Math.max(most, now);
  }
  return most;
}

async function inParallel<T>(items: readonly T[], run: (item: T) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) await run(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}
