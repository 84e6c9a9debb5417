import { setTimeout as sleep } from 'node:timers/promises';
import { ACTIVE_ARTIFACTS, ARTIFACT_INDEX, artifactKeys, WATCHED_ARTIFACTS } from '@pilum/core/redis/keys.ts';
import { Redis } from 'ioredis';
import { waitFor } from '../../test/support/wait-for.ts';
import { plainRow, type Row } from '../report/row.ts';
import { type Bench, call, type Part } from '../support/bench.ts';
import { NOOP } from '../support/functions.ts';
import { cpuSecondsOf, cpuSecondsOfTrees, rssMiBOf } from '../support/proc.ts';
import { undisturbed } from '../support/undisturbed.ts';
import { Pilum } from '../targets/pilum.ts';

/** Deployed as anyone would; those above are copies of them in Redis, which takes seconds in place of minutes. */
const DEPLOYED = 1000;
const SIZES = [DEPLOYED, 10_000, 100_000];
const DEPLOYED_AT_ONCE = 16;
const COPIED_AT_ONCE = 1000;
/** After the last deployment, before the first look, ms: what has just changed is looked after for a while. */
const SETTLE_MS = 5000;
/** Housekeeping goes round every two seconds: a window has two rounds for each ms of a sample's length. */
const WINDOWS_A_SAMPLE = 2;

interface Taken {
  readonly workerCpu: number;
  readonly apiCpu: number;
  readonly redisCpu: number;
  readonly workerMiB: number;
  readonly apiMiB: number;
  readonly clients: number;
}

/** Measures what deployed artifacts cost that nobody calls: a thousand, ten thousand, a hundred thousand. */
export const idle: Part = {
  name: 'idle',
  run: async (bench) => {
    const pilum = await Pilum.start(bench.scope);
    const [worker] = pilum.workers;
    if (worker === undefined) return [];
    await deployAll(pilum);
    const rows: Row[] = [];
    for (const size of SIZES) {
      await copyTo(pilum, size);
      await quiet(pilum);
      rows.push(...(await rowsOf(bench, pilum, worker.pid, size)));
    }
    return rows;
  },
};

async function rowsOf(bench: Bench, pilum: Pilum, workerPid: number, size: number): Promise<Row[]> {
  const windowMs = bench.sampleMs * WINDOWS_A_SAMPLE;
  const taken: Taken[] = [];
  while (taken.length < bench.repeats) {
    const one = await undisturbed(async () => {
      const read = () => ({
        worker: cpuSecondsOf(workerPid),
        api: cpuSecondsOf(pilum.api.pid),
        redis: cpuSecondsOfTrees([pilum.redis.pid]),
      });
      const before = read();
      await sleep(windowMs);
      const after = read();
      const share = (part: keyof typeof before) => ((after[part] - before[part]) / (windowMs / 1000)) * 100;
      return {
        workerCpu: share('worker'),
        apiCpu: share('api'),
        redisCpu: share('redis'),
        workerMiB: rssMiBOf(workerPid),
        apiMiB: rssMiBOf(pilum.api.pid),
        clients: await clientsOf(pilum.redis.path),
      };
    });
    taken.push(one);
    console.error(
      `  ${size}: worker ${one.workerCpu.toFixed(2)} %, Redis ${one.redisCpu.toFixed(2)} %, API ${one.apiCpu.toFixed(2)} % of a core`,
    );
  }
  let answered = 0;
  for (const i of [0, 499, 999]) {
    answered += (await call(bench, pilum.target(`idle-${i}`), { connections: 1, until: { calls: 1 }, isEcho: false }))
      .calls;
  }
  const msOf = async (work: () => Promise<unknown>) => {
    const began = performance.now();
    await work();
    return performance.now() - began;
  };
  const listMs = await msOf(() => pilum.call('GET', '/v1/tasks?limit=50'));
  const scrapeMs = await msOf(async () => await (await fetch(`${pilum.url}/metrics`)).text());
  const startMs = await msOf(() => pilum.addWorker());
  pilum.workers.at(-1)?.mayEnd();
  pilum.workers.pop()?.child.kill('SIGTERM');
  const measure = `${size} idle artifacts`;
  const figures = (of: (one: Taken) => number) => taken.map(of);
  return [
    plainRow({
      measure: `${measure}: worker`,
      unit: '% of a core',
      figures: figures(({ workerCpu }) => workerCpu),
      goal: { atMost: 5 },
    }),
    plainRow({ measure: `${measure}: Redis`, unit: '% of a core', figures: figures(({ redisCpu }) => redisCpu) }),
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
    plainRow({ measure: `${measure}: list of tasks`, unit: 'ms', figures: [listMs] }),
    plainRow({ measure: `${measure}: scrape of /metrics`, unit: 'ms', figures: [scrapeMs] }),
    plainRow({
      measure: `${measure}: start of another worker`,
      unit: 'ms',
      figures: [startMs],
      goal: { atMost: 3000 },
    }),
    plainRow({
      measure: `${measure}: three of them, called`,
      unit: 'answers',
      figures: [answered],
      goal: { atLeast: 3 },
    }),
  ];
}

async function deployAll(pilum: Pilum): Promise<void> {
  let next = 0;
  const deploy = async () => {
    while (next < DEPLOYED) await pilum.deploy(`idle-${next++}`, NOOP);
  };
  await Promise.all(Array.from({ length: DEPLOYED_AT_ONCE }, deploy));
}

/** Copies an artifact until there are so many. */
async function copyTo(pilum: Pilum, size: number): Promise<void> {
  const redis = new Redis({ path: pilum.redis.path });
  try {
    const keys = artifactKeys({ namespace: 'default', artifactId: 'idle-0' });
    const [artifact, versions, states, contents] = await Promise.all(
      [keys.artifact, keys.versions, keys.versionStates, keys.contents].map((key) => redis.hgetall(key)),
    );
    const renamed = (hash: Record<string, string> = {}, id: string) =>
      Object.fromEntries(Object.entries(hash).map(([name, text]) => [name, text.replaceAll('idle-0', id)]));
    for (let from = await redis.zcard(ARTIFACT_INDEX); from < size; from += COPIED_AT_ONCE) {
      const pipeline = redis.pipeline();
      for (let i = from; i < Math.min(from + COPIED_AT_ONCE, size); i++) {
        const id = `idle-${i}`;
        const own = artifactKeys({ namespace: 'default', artifactId: id });
        pipeline.zadd(ARTIFACT_INDEX, 0, `default/${id}`);
        pipeline.hset(own.artifact, renamed(artifact, id));
        pipeline.hset(own.versions, renamed(versions, id));
        pipeline.hset(own.versionStates, renamed(states, id));
        pipeline.hset(own.contents, renamed(contents, id));
        pipeline.zadd(own.deployments, 1, '1');
      }
      await pipeline.exec();
    }
  } finally {
    redis.disconnect();
  }
}

/** Makes what was just deployed look as if that had been long ago, and waits until nobody looks after it any more. */
async function quiet(pilum: Pilum): Promise<void> {
  const redis = new Redis({ path: pilum.redis.path });
  try {
    for (const list of [ACTIVE_ARTIFACTS, WATCHED_ARTIFACTS]) {
      const members = await redis.zrevrange(list, 0, -1);
      if (members.length > 0) await redis.zadd(list, ...members.flatMap((member) => ['0', member]));
    }
    await waitFor(
      async () => (await redis.zcard(WATCHED_ARTIFACTS)) < 10 && (await redis.zcard(ACTIVE_ARTIFACTS)) < 10,
      {
        what: 'nobody to look after the artifacts any more',
        timeoutMs: 120_000,
        everyMs: 500,
      },
    );
  } finally {
    redis.disconnect();
  }
  await sleep(SETTLE_MS);
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
