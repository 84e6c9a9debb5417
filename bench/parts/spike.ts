import { plainRow } from '../report/row.ts';
import { type Bench, call, type Part } from '../support/bench.ts';
import { WAITS } from '../support/functions.ts';
import type { Scope } from '../support/scope.ts';
import { undisturbed } from '../support/undisturbed.ts';
import { Pilum } from '../targets/pilum.ts';

const CALLS = 64;
const TASK_MS = 10;

interface Taken {
  readonly answered: number;
  readonly instances: number;
  readonly p99Ms: number;
}

/** From nothing to 64 calls at once of a function that was never run. */
export const spike: Part = {
  name: 'spike',
  run: async (bench) => {
    const taken: Taken[] = [];
    while (taken.length < bench.repeats) {
      // A Pilum of its own each time: no instance of another function is there.
      const one = await undisturbed(() => bench.scope.nested((scope) => takeOne(bench, scope)));
      taken.push(one);
      console.error(`  ${one.answered} answered by ${one.instances} instances, p99 ${one.p99Ms.toFixed(0)} ms`);
    }
    const measure = `${CALLS} calls at once of a new function`;
    return [
      plainRow({
        measure: `${measure}: answered`,
        unit: 'calls',
        figures: taken.map(({ answered }) => answered),
        goal: { atLeast: CALLS },
      }),
      plainRow({
        measure: `${measure}: by so many instances`,
        unit: 'instances',
        figures: taken.map(({ instances }) => instances),
      }),
      plainRow({ measure: `${measure}: p99`, unit: 'ms', figures: taken.map(({ p99Ms }) => p99Ms) }),
    ];
  },
};

async function takeOne(bench: Bench, scope: Scope): Promise<Taken> {
  const pilum = await Pilum.start(scope);
  await pilum.deploy('spike', WAITS);
  // An answer that is not 200 fails the part.
  const { calls, p99Ms } = await call(bench, pilum.target('spike'), {
    connections: CALLS,
    until: { calls: CALLS },
    body: { text: String(TASK_MS) },
  });
  const instances = new Set((await pilum.tasks('spike')).map(({ instanceId }) => instanceId)).size;
  return { answered: calls, instances, p99Ms };
}
