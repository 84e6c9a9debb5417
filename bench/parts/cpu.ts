import { ratioRow } from '../report/row.ts';
import { type Bench, call, inTurn, type Part, warmUp } from '../support/bench.ts';
import { cpuSecondsOfTrees } from '../support/proc.ts';
import { startFloor } from '../targets/floors.ts';
import type { Target } from '../targets/target.ts';
import { startEchoPilum } from './echo.ts';

const CALLS = { connections: 16 };

/** Processor time of a warm call: of API, worker, instances and Redis together. */
export const cpu: Part = {
  name: 'cpu',
  run: async (bench) => {
    const pilum = (await startEchoPilum(bench.scope)).target('echo');
    const list = await startFloor(bench.scope, 'redis-list');
    const bullmq = await startFloor(bench.scope, 'bullmq');
    const targets = [pilum, list, bullmq];
    await warmUp(bench, targets, CALLS);
    const take = (target: Target) => microsecondsOfACall(bench, target);
    const taken = await inTurn(bench, targets, take, (us) => `${us.toFixed(0)} µs a call`);
    return [
      { floor: list, goal: { atMost: 2 } },
      { floor: bullmq, goal: undefined },
    ].map(({ floor, goal }) =>
      ratioRow({
        measure: 'CPU of a warm sync call, 16 connections',
        over: floor.name,
        unit: 'µs',
        pilum: taken(pilum),
        floor: taken(floor),
        goal,
      }),
    );
  },
};

/** Returns the processor time of one warm call of a target: of all its processes together, µs. */
export async function microsecondsOfACall(bench: Bench, target: Target): Promise<number> {
  const before = cpuSecondsOfTrees(target.pids);
  const { calls } = await call(bench, target, CALLS);
  return ((cpuSecondsOfTrees(target.pids) - before) / calls) * 1e6;
}
