/**
 * How a worker shares itself out: `node bench/scheduling.ts [idle] [flood] [scale] [takeover] [spike]`, all of them where
 * none is named. Real processes, real sandboxes; each figure is taken next to what it is compared with.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../packages/core/src/redis/connect.ts';
import { startPilum, type TestPilum, type TestProcess } from '../test/support/pilum.ts';

const WAITS = { inline: 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))' };
const NOOP = { inline: 'export default () => 1' };
const CLOCK_TICKS_PER_S = 100;

const quantile = (values: readonly number[], q: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;

function cpuSeconds({ pid }: TestProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_S;
}

function rssMiB({ pid }: TestProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

async function inParallel(count: number, atOnce: number, run: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (next < count) await run(next++);
    }),
  );
}

async function withPilum(
  options: Parameters<typeof startPilum>[0],
  use: (pilum: TestPilum) => Promise<void>,
): Promise<void> {
  const pilum = await startPilum(options);
  try {
    await use(pilum);
  } finally {
    await pilum.close();
  }
}

/** What a thousand deployed artifacts cost that nobody calls. */
async function idle(): Promise<void> {
  await withPilum({}, async (pilum) => {
    const [worker] = pilum.workers;
    if (worker === undefined) return;
    const before = { worker: rssMiB(worker), api: rssMiB(pilum.api) };
    await inParallel(1000, 16, (i) => pilum.deploy(`idle-${i}`, { code: NOOP }));
    await sleep(10_000);
    const cpu = cpuSeconds(worker);
    const apiCpu = cpuSeconds(pilum.api);
    await sleep(20_000);
    const redis = connect({ url: pilum.redis.url, name: 'bench' }, console.error);
    const clients = /connected_clients:(\d+)/.exec(await redis.info('clients'))?.[1];
    redis.disconnect();
    console.log(
      `idle: 1,000 artifacts: worker ${(((cpuSeconds(worker) - cpu) / 20) * 100).toFixed(1)} % of a core, ` +
        `api ${(((cpuSeconds(pilum.api) - apiCpu) / 20) * 100).toFixed(1)} %; RSS worker ${before.worker.toFixed(0)} → ` +
        `${rssMiB(worker).toFixed(0)} MiB, api ${before.api.toFixed(0)} → ${rssMiB(pilum.api).toFixed(0)} MiB; ` +
        `${clients} Redis clients (one of them this program)`,
    );
    const answers = await Promise.all([0, 499, 999].map((i) => pilum.invoke(`idle-${i}`, {})));
    console.log(`idle: calls of three of them: ${answers.map(({ status }) => status).join(', ')}`);
  });
}

/** A quiet artifact beside one that is flooded. */
async function flood(): Promise<void> {
  await withPilum({}, async (pilum) => {
    await pilum.deploy('flood', { code: WAITS });
    await pilum.deploy('quiet', { code: NOOP });
    const measure = async (ms: number): Promise<number[]> => {
      const took: number[] = [];
      for (const end = Date.now() + ms; Date.now() < end; await sleep(100)) {
        const began = performance.now();
        await pilum.invoke('quiet', {});
        took.push(performance.now() - began);
      }
      return took;
    };
    await measure(1000);
    const alone = await measure(5000);
    const accepting = inParallel(10_000, 32, () => pilum.invoke('flood', 20, '?mode=async'));
    await sleep(500);
    const beside = await measure(8000);
    await accepting;
    console.log(
      `flood: the quiet one's p95 alone ${quantile(alone, 0.95).toFixed(1)} ms, beside the flood ` +
        `${quantile(beside, 0.95).toFixed(1)} ms (p50 ${quantile(alone, 0.5).toFixed(1)} and ${quantile(beside, 0.5).toFixed(1)})`,
    );
  });
}

/** Tasks a second of a function that waits 50 ms, with one, two and four workers. */
async function scale(): Promise<void> {
  const rates: number[] = [];
  for (const workers of [1, 2, 4]) {
    await withPilum({ workers }, async (pilum) => {
      await pilum.deploy('waits', { code: WAITS, pool: { max: 8, min: 8 } });
      await sleep(3000);
      const count = 160 * 5 * workers;
      const began = performance.now();
      await inParallel(count, 16 * workers, () => pilum.invoke('waits', 50));
      rates.push((count / (performance.now() - began)) * 1000);
    });
  }
  const [one = Number.NaN] = rates;
  console.log(
    `scale: 1, 2, 4 workers: ${rates.map((rate) => rate.toFixed(0)).join(', ')} tasks/s; ` +
      rates.map((rate) => `${(rate / one).toFixed(2)}×`).join(', '),
  );
}

/** A backlog at one worker, then a second one comes. */
async function takeover(): Promise<void> {
  await withPilum({ env: { PILUM_WORKER_CAPACITY: '8' } }, async (pilum) => {
    await pilum.deploy('backlog', { code: WAITS, pool: { max: 8 } });
    await inParallel(5000, 32, () => pilum.invoke('backlog', 50, '?mode=async'));
    const began = performance.now();
    await pilum.addWorker();
    const started = performance.now() - began;
    const counts = async (): Promise<Map<string, number>> => {
      const { json } = await pilum.call('GET', '/v1/instances');
      const byWorker = new Map<string, number>();
      for (const { workerId, tasksRun } of json.instances) {
        byWorker.set(workerId, (byWorker.get(workerId) ?? 0) + tasksRun);
      }
      return byWorker;
    };
    await sleep(2500);
    const from = await counts();
    await sleep(4000);
    const to = await counts();
    const done = ['worker-1', 'worker-2'].map((id) => (to.get(id) ?? 0) - (from.get(id) ?? 0));
    console.log(
      `takeover: the second worker was up after ${started.toFixed(0)} ms; 2.5 to 6.5 s later it did ` +
        `${(((done[1] ?? 0) / ((done[0] ?? 0) + (done[1] ?? 0))) * 100).toFixed(0)} % of the work (${done.join(' and ')})`,
    );
  });
}

/** From nothing to 64 calls at once of a function that was never run. */
async function spike(): Promise<void> {
  await withPilum({}, async (pilum) => {
    await pilum.deploy('spike', { code: WAITS });
    const took: number[] = [];
    const instances = new Set<string | null>();
    const statuses = new Map<number, number>();
    await inParallel(64, 64, async () => {
      const began = performance.now();
      const { status, body } = await pilum.invoke('spike', 10);
      took.push(performance.now() - began);
      instances.add(body.instanceId);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    });
    console.log(
      `spike: 64 calls at once: ${[...statuses].map(([status, count]) => `${count} × ${status}`).join(', ')} by ` +
        `${instances.size} instances; p50 ${quantile(took, 0.5).toFixed(0)} ms, p99 ${quantile(took, 0.99).toFixed(0)} ms`,
    );
  });
}

const parts = { idle, flood, scale, takeover, spike };
const asked = process.argv.slice(2);
for (const [name, run] of Object.entries(parts)) if (asked.length === 0 || asked.includes(name)) await run();
