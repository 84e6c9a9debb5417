import { type Goal, ratioRow } from '../report/row.ts';
import { loadInTurn, type Part } from '../support/bench.ts';
import { type FloorName, startFloor } from '../targets/floors.ts';
import { startEchoPilum } from './echo.ts';

interface Size {
  /** Name of the part. */
  readonly name: string;
  readonly title: string;
  readonly bytes: number;
  readonly connections: number;
  readonly over: FloorName;
  readonly goal: Goal;
  readonly env?: Readonly<Record<string, string>>;
}

/** Calls with so many bytes of JSON both ways. */
const partOf = ({ name, title, bytes, connections, over, goal, env }: Size): Part => ({
  name,
  run: async (bench) => {
    const pilum = (await startEchoPilum(bench.scope, { env })).target('echo');
    const floor = await startFloor(bench.scope, over);
    const samples = await loadInTurn(bench, [pilum, floor], { connections, body: { bytes } });
    return [
      ratioRow({
        measure: `${title} both ways: calls/s, ${connections} connections`,
        over,
        unit: '/s',
        pilum: samples(pilum).map(({ callsPerS }) => callsPerS),
        floor: samples(floor).map(({ callsPerS }) => callsPerS),
        goal,
      }),
    ];
  },
});

export const tenKilobytes = partOf({
  name: '10kb',
  title: '10 KB',
  bytes: 10_000,
  connections: 16,
  over: 'redis-list',
  goal: { atLeast: 0.5 },
});

export const oneMegabyte = partOf({
  name: '1mb',
  title: '1 MB',
  bytes: 1_000_000,
  connections: 8,
  over: 'redis-blob',
  goal: { atLeast: 0.8 },
  // 10,000 results of this size would be 10 GB.
  env: { PILUM_TASK_RETENTION_COUNT: '100' },
});
