import { ratioRow } from '../report/row.ts';
import { call, inTurn, type Part, warmUp } from '../support/bench.ts';
import { WAITS } from '../support/functions.ts';
import { Pilum } from '../targets/pilum.ts';
import type { Target } from '../targets/target.ts';

const WAIT_MS = 50;
const INSTANCES_A_WORKER = 8;
const SIDES = [
  { workers: 1, name: '1 worker', goal: undefined },
  { workers: 2, name: '2 workers', goal: { atLeast: 1.9 } },
  { workers: 4, name: '4 workers', goal: { atLeast: 3.8 } },
] as const;

/** Work that waits for something else: twice the workers do twice as much. */
export const scale: Part = {
  name: 'scale',
  run: async (bench) => {
    const connections = new Map<Target, number>();
    for (const { workers, name } of SIDES) {
      const pilum = await Pilum.start(bench.scope, { workers });
      await pilum.deploy('waits', WAITS, { min: INSTANCES_A_WORKER, max: INSTANCES_A_WORKER });
      // Two callers for each instance: none of them is ever without a task.
      connections.set(pilum.target('waits', { name }), 2 * INSTANCES_A_WORKER * workers);
    }
    const targets = [...connections.keys()];
    const callsOf = (target: Target) => ({
      connections: connections.get(target) ?? 0,
      body: { text: String(WAIT_MS) },
    });
    for (const target of targets) await warmUp(bench, [target], callsOf(target));
    const taken = await inTurn(
      bench,
      targets,
      async (target) => (await call(bench, target, callsOf(target))).callsPerS,
      (perS) => `${perS.toFixed(0)} calls/s`,
    );
    const [one, ...more] = targets;
    if (one === undefined) return [];
    return more.map((target) =>
      ratioRow({
        measure: `calls/s of a function that waits ${WAIT_MS} ms, ${INSTANCES_A_WORKER} instances a worker: ${target.name}`,
        over: one.name,
        unit: '/s',
        pilum: taken(target),
        floor: taken(one),
        goal: SIDES.find(({ name }) => name === target.name)?.goal,
      }),
    );
  },
};
