import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { ratioRow } from '../report/row.ts';
import { call, inTurn, type Part } from '../support/bench.ts';
import { ECHO } from '../support/functions.ts';
import { median } from '../support/statistics.ts';
import { Pilum } from '../targets/pilum.ts';
import type { Target } from '../targets/target.ts';

/** Starts of one sample. */
const STARTS = 10;
/** From one call to the next, ms: the instance of the one before is gone by then. */
const PAUSE_MS = 250;
const IMAGE = 'busybox:1';

interface BareStart extends Target {
  readonly command: readonly [string, ...string[]];
}

const bare = (name: string, ...command: BareStart['command']): BareStart => ({
  name,
  command,
  url: '',
  status: 0,
  pids: [],
});

/** A call for which an instance has to be started, over the bare start of what an instance is made of. */
export const cold: Part = {
  name: 'cold',
  run: async (bench) => {
    const ours = await Pilum.start(bench.scope);
    // Its instance goes as soon as nobody uses it.
    await ours.deploy('cold', ECHO, { idleTimeoutMs: 0 });
    const pilum = ours.target('cold');
    const floors = [bare('node -e 0', process.execPath, '-e', '0')];
    if (dockerRuns()) floors.push(bare('docker run', 'docker', 'run', '--rm', '--network', 'none', IMAGE, 'true'));
    else console.error(`  docker run is left out: there is no Docker Engine here that has, or gets, ${IMAGE}`);
    const take = async (target: Target): Promise<number> => {
      const floor = floors.find((candidate) => candidate === target);
      if (floor !== undefined) return await medianStartMs(floor.command);
      const sample = await call(bench, pilum, { connections: 1, until: { calls: STARTS }, everyMs: PAUSE_MS });
      return sample.p50Ms;
    };
    await take(pilum);
    const taken = await inTurn(bench, [pilum, ...floors], take, (ms) => `p50 ${ms.toFixed(1)} ms`);
    const warm = (await ours.tasks('cold')).filter(({ timing }) => !timing.coldStart).length;
    if (warm > 0) throw new Error(`${warm} calls that were to be cold found a warm instance`);
    return floors.map((floor) =>
      ratioRow({
        measure: 'cold sync call of a Node handler: p50',
        over: floor.name,
        unit: 'ms',
        pilum: taken(pilum),
        floor: taken(floor),
      }),
    );
  },
};

async function medianStartMs([program, ...args]: BareStart['command']): Promise<number> {
  const took: number[] = [];
  while (took.length < STARTS) {
    const began = performance.now();
    const [code] = await once(spawn(program, args, { stdio: 'ignore' }), 'exit');
    if (code !== 0) throw new Error(`${program} ended with ${code}`);
    took.push(performance.now() - began);
  }
  return median(took);
}

function dockerRuns(): boolean {
  const docker = (...args: string[]) => spawnSync('docker', args, { stdio: 'ignore', timeout: 60_000 }).status === 0;
  return docker('version') && (docker('image', 'inspect', IMAGE) || docker('pull', IMAGE));
}
