import { ratioRow } from '../report/row.ts';
import { loadInTurn, type Part } from '../support/bench.ts';
import { ECHO_EITHER, ECHO_SERVER } from '../support/functions.ts';
import { startFloor } from '../targets/floors.ts';
import { Pilum, USUAL_CAPACITY } from '../targets/pilum.ts';
import type { Target } from '../targets/target.ts';

/** Measures what a function costs as a web endpoint: a handler over its invoke, and a server over the same server without Pilum. */
export const endpoints: Part = {
  name: 'endpoints',
  run: async (bench) => {
    const pilum = await Pilum.start(bench.scope);
    const pool = { min: USUAL_CAPACITY / 2, max: USUAL_CAPACITY };
    await pilum.deploy('handler', ECHO_EITHER, pool);
    await pilum.call('PUT', '/v1/artifacts/server', {
      runtime: 'process',
      protocol: 'http',
      command: ['node', 'server.mjs'],
      entry: 'server.mjs',
      code: { inline: ECHO_SERVER },
      limits: { memoryMiB: 128 },
    });
    const at = (name: string): Target => ({
      ...pilum.target(name),
      name: `pilum, /fn/${name}`,
      url: `${pilum.url}/fn/${name}`,
    });
    const invoke = { ...pilum.target('handler'), name: 'pilum, sync invoke' };
    const direct = await startFloor(bench.scope, 'node-echo');
    const handler = at('handler');
    const server = at('server');
    const alone = await loadInTurn(bench, [handler, invoke, server, direct], { connections: 1 });
    const row = (measure: string, of: Target, over: Target) =>
      ratioRow({
        measure,
        over: over.name,
        unit: 'ms',
        pilum: alone(of).map(({ p50Ms }) => p50Ms),
        floor: alone(over).map(({ p50Ms }) => p50Ms),
      });
    return [
      row('/fn of a handler: p50, 1 in flight', handler, invoke),
      row('/fn of a server: p50, 1 in flight', server, direct),
      row('/fn of a server: p50, 1 in flight', server, handler),
    ];
  },
};
