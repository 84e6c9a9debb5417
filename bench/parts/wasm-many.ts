import { I32, moduleBytes } from '../../test/support/module-bytes.ts';
import { plainRow, type Row } from '../report/row.ts';
import type { Bench, Part } from '../support/bench.ts';
import { rssMiBOfTree } from '../support/proc.ts';
import { ENGINES, type EngineName } from '../support/wasm.ts';
import { Pilum } from '../targets/pilum.ts';

const MODULES = 1000;
const AT_ONCE = 16;

/** A thousand different small modules, deployed and called once each. */
export const wasmMany: Part = {
  name: 'wasm-many',
  run: async (bench) => {
    const rows: Row[] = [];
    for (const engine of ENGINES) rows.push(...(await many(bench, engine)));
    return rows;
  },
};

/** A function that returns a number of its own. */
const numbered = (number: number) =>
  moduleBytes({
    types: [[[], [I32]]],
    functions: [{ type: 0, code: [0x41, (number & 0x7f) | 0x80, (number >> 7) & 0x3f] }],
    memories: [[0, 1]],
    exports: [
      ['number', 0, 0],
      ['memory', 2, 0],
    ],
  });

async function many(bench: Bench, engine: EngineName): Promise<Row[]> {
  const pilum = await Pilum.start(bench.scope, { env: { PILUM_WASM_ENGINE: engine } });
  const pid = pilum.workers[0]?.pid ?? 0;
  const before = rssMiBOfTree(pid);
  const since = performance.now();
  let next = 0;
  let right = 0;
  const work = async () => {
    while (next < MODULES) {
      const number = next++;
      await pilum.deployModule(`number-${number}`, numbered(number), { entry: 'main.wasm#number' });
      const { result } = await pilum.call('POST', `/v1/artifacts/number-${number}/invoke`, []);
      if (result === number) right++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const seconds = (performance.now() - since) / 1000;
  const grown = rssMiBOfTree(pid) - before;
  console.error(`  ${engine}: ${right} right, ${seconds.toFixed(1)} s, ${grown.toFixed(0)} MiB more`);
  const what = `wasm, ${engine}: ${MODULES} different modules deployed and called once`;
  return [
    plainRow({ measure: `${what}: right answers`, unit: 'answers', figures: [right], goal: { atLeast: MODULES } }),
    plainRow({ measure: `${what}: in all`, unit: 's', figures: [seconds] }),
    plainRow({ measure: `${what}: memory of worker, engine and compiler`, unit: 'MiB more', figures: [grown] }),
  ];
}
