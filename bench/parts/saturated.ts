import { ratioRow } from '../report/row.ts';
import { loadInTurn, type Part } from '../support/bench.ts';
import { NOOP } from '../support/functions.ts';
import type { Scope } from '../support/scope.ts';
import { Pilum, USUAL_CAPACITY } from '../targets/pilum.ts';
import type { Target } from '../targets/target.ts';

/** Workers that a machine has no processor for must not cost what one gives. */
export const saturated: Part = {
  name: 'saturated',
  run: async (bench) => {
    const one = await start(bench.scope, 1, '1 worker');
    const four = await start(bench.scope, 4, '4 workers');
    const samples = await loadInTurn(bench, [one, four], { connections: 64, isEcho: false });
    return [
      ratioRow({
        measure: 'calls/s of a function that does nothing, 64 connections: 4 workers',
        over: one.name,
        unit: '/s',
        pilum: samples(four).map(({ callsPerS }) => callsPerS),
        floor: samples(one).map(({ callsPerS }) => callsPerS),
        goal: { atLeast: 0.9 },
      }),
    ];
  },
};

async function start(scope: Scope, workers: number, name: string): Promise<Target> {
  const pilum = await Pilum.start(scope, { workers });
  await pilum.deploy('noop', NOOP, { min: USUAL_CAPACITY, max: USUAL_CAPACITY });
  return pilum.target('noop', { name });
}
