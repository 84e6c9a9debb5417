import { connect } from '@pilum/core/redis/connect.ts';
import { artifactKeys, QUEUE_NAME } from '@pilum/core/redis/keys.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const QUEUES = 100;
const TASKS_EACH = 3;
const SLOTS = 16;
const ids = Array.from({ length: QUEUES }, (_, i) => `busy-${i}`);

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: { PILUM_WORKER_CAPACITY: String(SLOTS) } }));
});

const code = { inline: 'export default () => new Promise((resolve) => setTimeout(() => resolve(1), 400))' };

const SUMS = `
local active, waiting = 0, 0
for i = 1, #KEYS, 3 do
  active = active + redis.call('LLEN', KEYS[i])
  waiting = waiting + redis.call('LLEN', KEYS[i + 1]) + redis.call('ZCARD', KEYS[i + 2])
end
return { active, waiting }
`;

/** One after the other in a few lines: a hundred at once would have the API refuse some. */
async function forEachQueue(run: (id: string, i: number) => Promise<unknown>): Promise<void> {
  const rest = ids.entries();
  const line = async () => {
    for (const [i, id] of rest) await run(id, i);
  };
  await Promise.all([line(), line(), line(), line()]);
}

describe('a hundred busy queues and sixteen slots', () => {
  it('sixteen tasks run, the rest wait in Redis, and a second worker takes of it', async () => {
    const redis = connect({ url: pilum.redis.url, name: 'test' }, () => undefined);
    const keys = ids.flatMap((id) => {
      const prefix = `${artifactKeys({ namespace: 'default', artifactId: id }).queuePrefix}:${QUEUE_NAME}`;
      return [`${prefix}:active`, `${prefix}:wait`, `${prefix}:prioritized`];
    });
    let mostActive = 0;
    /** Over all queues in one moment: what workers hold, and what waits for one. */
    const look = async (): Promise<{ active: number; waiting: number }> => {
      const [active = 0, waiting = 0] = (await redis.eval(SUMS, keys.length, ...keys)) as number[];
      mostActive = Math.max(mostActive, active);
      return { active, waiting };
    };
    const running = async (workerId: string): Promise<number> => {
      const { json } = await pilum.call('GET', '/v1/instances');
      const of = json.instances.filter((one: { workerId: string; state: string }) => one.workerId === workerId);
      return of.filter(({ state }: { state: string }) => state === 'running').length;
    };
    await forEachQueue((id, i) =>
      pilum.deploy(id, { code, limits: { memoryMiB: 64 }, pool: { max: 1 + (i % 2) }, timeouts: { startMs: 60_000 } }),
    );
    const accepting = forEachQueue(async (id) => {
      for (let i = 0; i < TASKS_EACH; i++) expect((await pilum.invoke(id, {}, '?mode=async')).status).toBe(202);
    });
    await waitFor(
      async () => {
        const { active, waiting } = await look();
        return active === SLOTS && waiting > QUEUES && (await running('worker-1')) > 0;
      },
      { what: 'all slots to be taken' },
    );
    await accepting;
    for (let i = 0; i < 200; i++) await look();
    expect((await look()).waiting).toBeGreaterThan(QUEUES);
    expect(mostActive, 'what a worker holds at once, however much there is').toBe(SLOTS);

    await pilum.addWorker();
    await waitFor(async () => (await look()).active > SLOTS && (await running('worker-2')) > 0, {
      what: 'the second worker to take of it',
    });
    const isOver = async () => {
      const { active, waiting } = await look();
      return active + waiting === 0;
    };
    await waitFor(isOver, { what: 'the end of all of them', timeoutMs: 120_000 });
    expect(mostActive).toBeLessThanOrEqual(2 * SLOTS);
    const runBy = new Map<string, number>();
    await forEachQueue(async (id) => {
      const { tasks } = (await pilum.call('GET', `/v1/tasks?artifact=${id}&limit=100`)).json;
      expect(tasks).toHaveLength(TASKS_EACH);
      for (const { taskId } of tasks) {
        const { status, attempt, recoveries, workerId } = (await pilum.call('GET', `/v1/tasks/${taskId}`)).json;
        expect([status, attempt, recoveries]).toEqual(['completed', 1, 0]);
        runBy.set(workerId, (runBy.get(workerId) ?? 0) + 1);
      }
    });
    expect([...runBy.keys()].sort()).toEqual(['worker-1', 'worker-2']);
    redis.disconnect();
  });
});
