import { ratioRow } from '../report/row.ts';
import { loadInTurn, type Part } from '../support/bench.ts';
import { startFloor } from '../targets/floors.ts';
import { startEchoPilum } from './echo.ts';

/** Time that the slowest of a hundred warm calls takes, with two callers for each slot. */
export const tail: Part = {
  name: 'tail',
  run: async (bench) => {
    const pilum = (await startEchoPilum(bench.scope)).target('echo');
    const list = await startFloor(bench.scope, 'redis-list');
    const samples = await loadInTurn(bench, [pilum, list], { connections: 32 });
    return [
      ratioRow({
        measure: 'warm sync call: p99, 32 connections',
        over: list.name,
        unit: 'ms',
        pilum: samples(pilum).map(({ p99Ms }) => p99Ms),
        floor: samples(list).map(({ p99Ms }) => p99Ms),
        goal: { atMost: 3 },
      }),
    ];
  },
};
