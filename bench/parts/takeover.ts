import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '../../test/support/wait-for.ts';
import { plainRow } from '../report/row.ts';
import { type Bench, call, type Part } from '../support/bench.ts';
import { WAITS } from '../support/functions.ts';
import type { Scope } from '../support/scope.ts';
import { undisturbed } from '../support/undisturbed.ts';
import { Pilum, type SettledTask } from '../targets/pilum.ts';

const TASKS = 5000;
const TASK_MS = 50;
const INSTANCES_A_WORKER = 8;
const WINDOW_MS = 500;
const WINDOWS = 6;
/** Part of the work of a window: half, but for the grain of it. */
const HALF = 0.45;
/** An order that was just given is on its way for this long, ms. */
const ORDER_MS = 100;
const EXIT_MS = 15_000;

interface Taken {
  /** From B's registration to the end of the first window in which it does its half, s. */
  readonly halfAfterS: number;
  /** Tasks that A began after it was drained. */
  readonly takenAfterDrain: number;
  /** Tasks that were run more than once. */
  readonly runAgain: number;
  readonly exitCode: number;
}

/** A backlog at worker A; worker B comes, and then A is drained. */
export const takeover: Part = {
  name: 'takeover',
  run: async (bench) => {
    const taken: Taken[] = [];
    while (taken.length < bench.repeats) {
      // A Pilum of its own each time: what is left of the backlog goes with it.
      const one = await undisturbed(() => bench.scope.nested((scope) => takeOne(bench, scope)));
      taken.push(one);
      console.error(
        `  half of the work after ${one.halfAfterS} s; drained: ${one.takenAfterDrain} taken, ${one.runAgain} run again, exit code ${one.exitCode}`,
      );
    }
    const figures = (of: (one: Taken) => number) => taken.map(of);
    return [
      plainRow({
        measure: `backlog of ${TASKS}: from a second worker's registration until it does half of the work`,
        unit: 's',
        figures: figures(({ halfAfterS }) => halfAfterS),
        goal: { atMost: 2 },
      }),
      plainRow({
        measure: 'the first is drained under its backlog: tasks that it still begins',
        unit: 'tasks',
        figures: figures(({ takenAfterDrain }) => takenAfterDrain),
        goal: { atMost: 0 },
      }),
      plainRow({
        measure: 'the same: tasks that were begun and had to be run again',
        unit: 'tasks',
        figures: figures(({ runAgain }) => runAgain),
        goal: { atMost: 0 },
      }),
      plainRow({
        measure: 'the same: its exit code',
        unit: '',
        figures: figures(({ exitCode }) => exitCode),
        goal: { atMost: 0 },
      }),
    ];
  },
};

async function takeOne(bench: Bench, scope: Scope): Promise<Taken> {
  const pilum = await Pilum.start(scope);
  await pilum.deploy('backlog', WAITS, { max: INSTANCES_A_WORKER });
  await call(bench, pilum.target('backlog', { mode: 'async' }), {
    connections: 32,
    until: { calls: TASKS },
    body: { text: String(TASK_MS) },
  });
  const [registeredAt] = await Promise.all([registration(pilum, 'worker-2'), pilum.addWorker()]);
  await sleep(registeredAt + WINDOWS * WINDOW_MS - Date.now());
  const [a] = pilum.workers;
  a?.mayEnd();
  await pilum.call('POST', '/v1/workers/worker-1/drain');
  const drainedAt = Date.now();
  const exit = await Promise.race([a?.ended, sleep(EXIT_MS)]);
  const tasks = await pilum.tasks('backlog');
  const late = tasks.filter((task) => task.workerId === 'worker-1' && beganAt(task) > drainedAt + ORDER_MS);
  return {
    halfAfterS: halfAfterS(tasks, registeredAt),
    takenAfterDrain: late.length,
    runAgain: tasks.filter(({ recoveries }) => recoveries > 0).length,
    exitCode: typeof exit === 'number' ? exit : Number.NaN,
  };
}

/** Time at which a worker is first seen by who asks the API, ms since 1970. */
async function registration(pilum: Pilum, workerId: string): Promise<number> {
  return await waitFor(
    async () => {
      const { workers } = await pilum.call('GET', '/v1/workers');
      return workers.some((worker: { workerId: string }) => worker.workerId === workerId) && Date.now();
    },
    { what: `${workerId} among the live workers`, timeoutMs: 30_000, everyMs: 10 },
  );
}

const beganAt = ({ createdAt, timing }: SettledTask) => Date.parse(createdAt) + timing.queuedMs;

function halfAfterS(tasks: readonly SettledTask[], registeredAt: number): number {
  for (let window = 0; window < WINDOWS; window++) {
    const from = registeredAt + window * WINDOW_MS;
    const done = tasks.filter(({ finishedAt }) => {
      const at = Date.parse(finishedAt);
      return at >= from && at < from + WINDOW_MS;
    });
    const byB = done.filter(({ workerId }) => workerId === 'worker-2').length;
    console.error(`    ${(window * WINDOW_MS) / 1000} s: ${byB} of ${done.length} by the second`);
    if (byB >= HALF * done.length && done.length > 0) return ((window + 1) * WINDOW_MS) / 1000;
  }
  return Number.POSITIVE_INFINITY;
}
