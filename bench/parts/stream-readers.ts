import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { plainRow } from '../report/row.ts';
import type { Bench, Part } from '../support/bench.ts';
import { Peak } from '../support/peak.ts';
import { cpuSecondsOf } from '../support/proc.ts';
import { openStream } from '../support/stream-call.ts';
import { Pilum } from '../targets/pilum.ts';

const OPEN = 500;
const OPENED_AT_ONCE = 8;
/** Time that the idle ones are watched and the slow one reads, for each ms of a sample. */
const WATCH_PER_MS = 5;
const SLOW_BYTES_PER_S = 1024;
const READ_AGAIN_MS = 5;

/** Readers of another kind: many with nothing to read, and one that reads slowly what would be a gigabyte. */
export const streamReaders: Part = {
  name: 'stream-readers',
  run: async (bench) => [...(await manyIdle(bench)), ...(await oneSlow(bench))],
};

async function manyIdle(bench: Bench) {
  return await bench.scope.nested(async (scope) => {
    const env = { PILUM_WORKER_CAPACITY: String(OPEN), PILUM_WORKER_MEMORY_MIB: '1000000' };
    const pilum = await Pilum.start(scope, { env });
    await pilum.call('PUT', '/v1/artifacts/waits', {
      runtime: 'process',
      command: ['/bin/sh', '-c', 'echo here; exec sleep 300'],
      limits: { memoryMiB: 32, cpu: 0.1 },
      timeouts: { runMs: 300_000 },
      pool: { max: OPEN },
    });
    const peak = new Peak(pilum);
    peak.begin();
    const answers: { destroy(): void }[] = [];
    let next = 0;
    const open = async () => {
      while (next++ < OPEN) {
        const answer = await openStream(`${pilum.url}/v1/artifacts/waits/stream`, { body: {} });
        for (let text = ''; !text.includes('event: chunk'); ) text += (await read(answer)).toString();
        answers.push(answer);
      }
    };
    await Promise.all(Array.from({ length: OPENED_AT_ONCE }, open));
    console.error(`  ${answers.length} streams are open`);
    const pids = { API: pilum.api.pid, worker: pilum.workers[0]?.pid ?? 0 };
    const before = { API: cpuSecondsOf(pids.API), worker: cpuSecondsOf(pids.worker) };
    const watchS = (bench.sampleMs * WATCH_PER_MS) / 1000;
    await sleep(watchS * 1000);
    const share = (name: 'API' | 'worker') => ((cpuSecondsOf(pids[name]) - before[name]) / watchS) * 100;
    const cpu = { API: share('API'), worker: share('worker') };
    const { api, worker, redis } = peak.end();
    for (const answer of answers) answer.destroy();
    const measure = `${OPEN} idle streams`;
    return [
      plainRow({
        measure: `${measure}: open, each with its first chunk`,
        unit: 'streams',
        figures: [answers.length],
        goal: { atLeast: OPEN },
      }),
      plainRow({ measure: `${measure}: API`, unit: '% of a core', figures: [cpu.API] }),
      plainRow({ measure: `${measure}: worker`, unit: '% of a core', figures: [cpu.worker] }),
      plainRow({ measure: `${measure}: resident memory of the API`, unit: 'MiB', figures: [api.most] }),
      plainRow({ measure: `${measure}: resident memory of the worker`, unit: 'MiB', figures: [worker.most] }),
      plainRow({ measure: `${measure}: resident memory of Redis`, unit: 'MiB', figures: [redis.most] }),
    ];
  });
}

async function oneSlow(bench: Bench) {
  return await bench.scope.nested(async (scope) => {
    const pilum = await Pilum.start(scope);
    const code = `const frame = 'x'.repeat(1024);
      export default function* () { for (let i = 0; i < 1048576; i++) yield frame; }`;
    await pilum.deploy('gigabyte', code, { min: 1 });
    const peak = new Peak(pilum);
    peak.begin();
    const answer = await openStream(`${pilum.url}/v1/artifacts/gigabyte/stream`, { body: {} });
    const ends = performance.now() + bench.sampleMs * WATCH_PER_MS;
    let taken = 0;
    while (performance.now() < ends) {
      const piece = await read(answer, SLOW_BYTES_PER_S / 4);
      taken += piece.length;
      await sleep(250);
    }
    answer.destroy();
    const grown = peak.end();
    console.error(`  ${taken} bytes were taken`);
    return (['api', 'worker', 'redis'] as const).map((process) =>
      plainRow({
        measure: `1 KB/s read of a function that would yield 1 GB: memory of ${process}, most over before`,
        unit: 'MiB',
        figures: [grown[process].most - grown[process].before],
        goal: { atMost: 64 },
      }),
    );
  });
}

/** The next bytes of an answer, so many where that is said. */
async function read(answer: IncomingMessage, bytes?: number): Promise<Buffer> {
  for (;;) {
    const piece = answer.read(bytes) as Buffer | null;
    if (piece !== null) return piece;
    if (answer.readableEnded || answer.destroyed) throw new Error('the stream has ended');
    await sleep(READ_AGAIN_MS);
  }
}
