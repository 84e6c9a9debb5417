import { setTimeout as sleep } from 'node:timers/promises';
import { LoadProcess } from '../load/load-process.ts';
import { differenceRow } from '../report/row.ts';
import { type Bench, call, type Part } from '../support/bench.ts';
import { NOOP, WAITS } from '../support/functions.ts';
import { undisturbed } from '../support/undisturbed.ts';
import { Pilum } from '../targets/pilum.ts';
import type { Target } from '../targets/target.ts';

const TASKS = 10_000;
const TASK_MS = 20;
/** One call after the other, so far apart, ms. */
const QUIET = { connections: 1, everyMs: 100, isEcho: false };
/** Calls of the quiet one alone, and while the flood is worked off, which takes longer than they do. */
const ALONE_CALLS = 40;
const BESIDE_CALLS = 80;

/** A quiet artifact beside one that is flooded, on one worker. */
export const flood: Part = {
  name: 'flood',
  run: async (bench) => {
    const pilum = await Pilum.start(bench.scope);
    await pilum.deploy('quiet', NOOP, { min: 1 });
    await pilum.deploy('flood', WAITS);
    const quiet = pilum.target('quiet');
    const flooding: Bench = { ...bench, load: await LoadProcess.start(bench.scope) };
    const flooded = pilum.target('flood', { mode: 'async' });
    await call(bench, quiet, { ...QUIET, until: { calls: 10 } });
    const taken: { alone: number; beside: number }[] = [];
    while (taken.length < bench.repeats) {
      const both = await undisturbed(() => takeBoth(bench, flooding, pilum, quiet, flooded));
      taken.push(both);
      console.error(`  p95 alone ${both.alone.toFixed(1)} ms, beside the flood ${both.beside.toFixed(1)} ms`);
    }
    return [
      differenceRow({
        measure: `p95 of a quiet function beside ${TASKS} tasks of ${TASK_MS} ms of another`,
        over: 'the same alone',
        unit: 'ms',
        pilum: taken.map(({ beside }) => beside),
        floor: taken.map(({ alone }) => alone),
        goal: { atMost: 20 },
      }),
    ];
  },
};

async function takeBoth(
  bench: Bench,
  flooding: Bench,
  pilum: Pilum,
  quiet: Target,
  flooded: Target,
): Promise<{ alone: number; beside: number }> {
  const alone = await call(bench, quiet, { ...QUIET, until: { calls: ALONE_CALLS } });
  const [beside] = await Promise.all([
    call(bench, quiet, { ...QUIET, until: { calls: BESIDE_CALLS } }),
    call(flooding, flooded, { connections: 32, until: { calls: TASKS }, body: { text: String(TASK_MS) } }),
  ]);
  if (!(await hasBacklog(pilum))) throw new Error('the flood was over before the calls beside it were');
  while (await hasBacklog(pilum)) await sleep(200);
  return { alone: alone.p95Ms, beside: beside.p95Ms };
}

async function hasBacklog(pilum: Pilum): Promise<boolean> {
  const { tasks } = await pilum.call('GET', '/v1/tasks?artifact=flood&status=pending&limit=1');
  return tasks.length > 0;
}
