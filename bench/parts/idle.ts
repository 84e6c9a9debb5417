import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { plainRow } from '../report/row.ts';
import { call, type Part } from '../support/bench.ts';
import { NOOP } from '../support/functions.ts';
import { cpuSecondsOf, rssMiBOf } from '../support/proc.ts';
import { undisturbed } from '../support/undisturbed.ts';
import { Pilum } from '../targets/pilum.ts';

const ARTIFACTS = 1000;
const DEPLOYED_AT_ONCE = 16;
/** After the last deployment, before the first look, ms. */
const SETTLE_MS = 5000;
/** Housekeeping goes round every two seconds: a window has two rounds for each ms of a sample's length. */
const WINDOWS_A_SAMPLE = 2;

interface Taken {
  readonly workerCpu: number;
  readonly apiCpu: number;
  readonly workerMiB: number;
  readonly apiMiB: number;
  readonly clients: number;
}

/** What a thousand deployed artifacts cost that nobody calls. */
export const idle: Part = {
  name: 'idle',
  run: async (bench) => {
    const pilum = await Pilum.start(bench.scope);
    const [worker] = pilum.workers;
    if (worker === undefined) return [];
    await deployAll(pilum);
    await sleep(SETTLE_MS);
    const windowMs = bench.sampleMs * WINDOWS_A_SAMPLE;
    const taken: Taken[] = [];
    while (taken.length < bench.repeats) {
      const one = await undisturbed(async () => {
        const before = { worker: cpuSecondsOf(worker.pid), api: cpuSecondsOf(pilum.api.pid) };
        await sleep(windowMs);
        const share = (seconds: number) => (seconds / (windowMs / 1000)) * 100;
        return {
          workerCpu: share(cpuSecondsOf(worker.pid) - before.worker),
          apiCpu: share(cpuSecondsOf(pilum.api.pid) - before.api),
          workerMiB: rssMiBOf(worker.pid),
          apiMiB: rssMiBOf(pilum.api.pid),
          clients: await clientsOf(pilum.redis.path),
        };
      });
      taken.push(one);
      console.error(`  worker ${one.workerCpu.toFixed(1)} % of a core, ${one.workerMiB.toFixed(0)} MiB`);
    }
    let answered = 0;
    for (const i of [0, 499, 999]) {
      answered += (await call(bench, pilum.target(`idle-${i}`), { connections: 1, until: { calls: 1 }, isEcho: false }))
        .calls;
    }
    const measure = `${ARTIFACTS} idle artifacts`;
    const figures = (of: (one: Taken) => number) => taken.map(of);
    return [
      plainRow({
        measure: `${measure}: worker`,
        unit: '% of a core',
        figures: figures(({ workerCpu }) => workerCpu),
        goal: { atMost: 5 },
      }),
      plainRow({ measure: `${measure}: API`, unit: '% of a core', figures: figures(({ apiCpu }) => apiCpu) }),
      plainRow({
        measure: `${measure}: resident memory of the worker`,
        unit: 'MiB',
        figures: figures(({ workerMiB }) => workerMiB),
        goal: { atMost: 300 },
      }),
      plainRow({
        measure: `${measure}: resident memory of the API`,
        unit: 'MiB',
        figures: figures(({ apiMiB }) => apiMiB),
        goal: { atMost: 300 },
      }),
      plainRow({ measure: `${measure}: Redis clients`, unit: 'clients', figures: figures(({ clients }) => clients) }),
      plainRow({
        measure: `${measure}: three of them, called`,
        unit: 'answers',
        figures: [answered],
        goal: { atLeast: 3 },
      }),
    ];
  },
};

async function deployAll(pilum: Pilum): Promise<void> {
  let next = 0;
  const deploy = async () => {
    while (next < ARTIFACTS) await pilum.deploy(`idle-${next++}`, NOOP);
  };
  await Promise.all(Array.from({ length: DEPLOYED_AT_ONCE }, deploy));
}

/** Connections to Redis, but for the one that asks. */
async function clientsOf(path: string): Promise<number> {
  const redis = new Redis({ path });
  try {
    return Number(/connected_clients:(\d+)/.exec(await redis.info('clients'))?.[1]) - 1;
  } finally {
    redis.disconnect();
  }
}
