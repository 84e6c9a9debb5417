/**
 * Measures what Redis holds after many tasks: `node bench/retention.ts [tasks] [kept]`, 100,000 tasks with 1,000 kept per status by
 * default. A mix of tasks that complete, fail, are retried and have results too large for their outcome is called, 64 at
 * a time; memory and keys of Redis are shown when as many tasks as are kept have been run, along the way and at the end.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../packages/core/src/redis/connect.ts';
import { startPilum } from '../test/support/pilum.ts';

const [tasks = 100_000, kept = 1000] = process.argv.slice(2).map(Number);
const AT_ONCE = 64;
const CODE = `export default (event, { attempt }) => {
  if (event.kind === 'fail') throw new Error('as asked');
  if (event.kind === 'retry' && attempt === 1) throw new Error('once more');
  if (event.kind === 'large') return 'x'.repeat(40_000);
  console.log('a line');
  return event;
}`;

const pilum = await startPilum({ appendonly: true, env: { PILUM_TASK_RETENTION_COUNT: String(kept) } });
const redis = connect({ url: pilum.redis.url, name: 'bench' }, console.error);

async function show(done: number): Promise<void> {
  const info = await redis.info('memory');
  const bytes = Number(/used_memory:(\d+)/.exec(info)?.[1]);
  const allocated = Number(/allocator_allocated:(\d+)/.exec(info)?.[1]);
  console.log(
    `${String(done).padStart(8)} tasks  ${(bytes / 1_048_576).toFixed(1).padStart(8)} MiB used  ` +
      `${(allocated / 1_048_576).toFixed(1).padStart(8)} MiB allocated  ${String(await redis.dbsize()).padStart(7)} keys`,
  );
}

/** Calls so many tasks: of twenty one fails, one is retried, and one has a large result. */
async function call(count: number): Promise<void> {
  let next = 0;
  const caller = async () => {
    while (next < count) {
      const kind = { 0: 'fail', 1: 'retry', 2: 'large' }[next++ % 20] ?? 'plain';
      await pilum.invoke('mixed', { kind, pad: 'y'.repeat(500) });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
}

try {
  await pilum.deploy('mixed', {
    code: { inline: CODE },
    retry: { attempts: 2, backoff: { type: 'fixed', delayMs: 0, jitter: 0 } },
  });
  await show(0);
  // So many that every status is full: of twenty tasks one fails.
  await call(20 * kept);
  await sleep(1000);
  await show(20 * kept);
  for (let done = 0; done < tasks; ) {
    const some = Math.min(tasks / 4, tasks - done);
    await call(some);
    done += some;
    await sleep(1000);
    await show(20 * kept + done);
  }
} finally {
  redis.disconnect();
  await pilum.close();
}
