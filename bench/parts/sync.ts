import { ratioRow } from '../report/row.ts';
import { loadInTurn, type Part } from '../support/bench.ts';
import { startFloor } from '../targets/floors.ts';
import { startEchoPilum } from './echo.ts';

/** Measures what a warm sync call costs: alone, and when there are more callers than slots. */
export const sync: Part = {
  name: 'sync',
  run: async (bench) => {
    const pilum = (await startEchoPilum(bench.scope)).target('echo');
    const bullmq = await startFloor(bench.scope, 'bullmq');
    const list = await startFloor(bench.scope, 'redis-list');
    const bareList = await startFloor(bench.scope, 'redis-list, no child');
    const http = await startFloor(bench.scope, 'fastify-echo');
    const targets = [pilum, bullmq, list, bareList, http];
    const alone = await loadInTurn(bench, targets, { connections: 1 });
    const many = await loadInTurn(bench, targets, { connections: 64 });
    const goals = new Map([
      [bullmq, { p50: { atMost: 0.75 }, rate: { atLeast: 1.6 } }],
      [list, { p50: { atMost: 2.1 }, rate: { atLeast: 0.45 } }],
    ]);
    const floors = [bullmq, list, bareList, http];
    return [
      ...floors.map((floor) =>
        ratioRow({
          measure: 'warm sync call: p50, 1 in flight',
          over: floor.name,
          unit: 'ms',
          pilum: alone(pilum).map(({ p50Ms }) => p50Ms),
          floor: alone(floor).map(({ p50Ms }) => p50Ms),
          goal: goals.get(floor)?.p50,
        }),
      ),
      ...floors.map((floor) =>
        ratioRow({
          measure: 'warm sync calls/s, 64 connections',
          over: floor.name,
          unit: '/s',
          pilum: many(pilum).map(({ callsPerS }) => callsPerS),
          floor: many(floor).map(({ callsPerS }) => callsPerS),
          goal: goals.get(floor)?.rate,
        }),
      ),
    ];
  },
};
