import { CHANNEL_CANCEL } from '@pilum/core/redis/keys.ts';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { outcomeFor } from '../support/tasks.ts';
import { waitFor } from '../support/wait-for.ts';
import { Workshop } from './support/workshop.ts';

let shop: Workshop;
const kept = keep();
beforeAll(async () => {
  shop = kept.add(await Workshop.open());
});

const deploy = (artifactId: string, source: string) => shop.deploy(artifactId, source);
const run = (artifactId: string, event: unknown, changes: Partial<Ticket> = {}) => shop.run(artifactId, event, changes);
const settled = (ticket: Ticket) => shop.settled(ticket);

describe('a worker', () => {
  it('finds what waited before it came, runs it warm the second time, and says that it is there', async () => {
    await deploy('count', 'let n = 0; export default () => ++n');
    const first = await run('count', {});
    await shop.startWorker('worker-1', { PILUM_WORKER_CAPACITY: '2' });
    expect(await settled(first)).toMatchObject({ status: 'completed', coldStart: true, workerId: 'worker-1' });
    const second = await settled(await run('count', {}));
    expect(second).toMatchObject({ coldStart: false, result: { data: '2' } });
    const registry = new WorkerRegistry(shop.redis);
    expect((await registry.workers()).map((worker) => worker.workerId)).toEqual(['worker-1']);
  });

  it('runs no more at once than it has slots, and leaves the rest in Redis', async () => {
    await deploy('wait', 'export default (e) => new Promise((r) => setTimeout(() => r(1), e.ms))');
    const queue = shop.queues.of({ namespace: 'default', artifactId: 'wait' });
    const tickets = [];
    for (let i = 0; i < 6; i++) tickets.push(await run('wait', { ms: 400 }));
    await waitFor(async () => (await queue.counts()).active === 2, { what: 'two tasks to run' });
    expect(await queue.counts()).toMatchObject({ waiting: 4, active: 2 });
    for (const ticket of tickets) expect((await settled(ticket)).status).toBe('completed');
    await waitFor(async () => (await queue.counts()).active === 0, { what: 'the jobs to be finished' });
  });

  it('lets a quiet artifact in while another has a backlog', async () => {
    const busy = [];
    for (let i = 0; i < 20; i++) busy.push(await run('wait', { ms: 100 }));
    const quiet = await settled(await run('count', {}));
    expect(quiet.status).toBe('completed');
    const outcomes = await Promise.all(busy.map(({ taskId }) => shop.tasks.outcome({ namespace: 'default', taskId })));
    expect(outcomes.filter((outcome) => outcome === null).length).toBeGreaterThan(2);
    for (const ticket of busy) await settled(ticket);
  });

  it('does not begin a task past its queue timeout', async () => {
    const outcome = await settled(await run('count', {}, { dueAtMs: Date.now() - 2, queueMs: 1 }));
    expect(outcome).toMatchObject({ status: 'timeout', error: { code: 'QUEUE_TIMEOUT' }, attempt: 0 });
  });

  it('settles a task whose artifact is gone', async () => {
    const outcome = await settled(await run('never-deployed', {}));
    // Nothing goes round for an artifact that is not listed: the message alone brought it here.
    expect(outcome).toMatchObject({ status: 'failed', error: { code: 'TASK_CANCELLED' } });
  });

  it('drops a job whose task has its outcome already', async () => {
    const first = await settled(await run('count', {}));
    const queue = shop.queues.of({ namespace: 'default', artifactId: 'count' });
    await queue.setPaused(true);
    const ticket = await run('count', {}, { keyed: true });
    const standing = outcomeFor(ticket, { status: 'failed' });
    await shop.tasks.settle(ticket, standing);
    await queue.setPaused(false);
    await waitFor(
      async () => {
        const { waiting, active } = await queue.counts();
        return waiting + active === 0;
      },
      { what: 'the job to be finished' },
    );
    expect(await shop.tasks.outcome({ namespace: 'default', taskId: ticket.taskId })).toEqual(standing);
    const next = await settled(await run('count', {}));
    expect(Number(next.result?.data)).toBe(Number(first.result?.data) + 1);
  });

  it.each(['at once when it hears of it', 'soon when the message is lost'])(
    'stops a running task that was cancelled: %s',
    async (how) => {
      await deploy('endless', 'export default () => new Promise(() => {})');
      const ticket = await run('endless', {});
      const queue = shop.queues.of({ namespace: 'default', artifactId: 'endless' });
      await waitFor(async () => (await queue.read(ticket.taskId))?.state === 'running', { what: 'the task to run' });
      const cancelled = outcomeFor(ticket, { status: 'cancelled' });
      await shop.tasks.settle(ticket, cancelled);
      if (how.startsWith('at once')) await shop.redis.publish(CHANNEL_CANCEL, `default/${ticket.taskId}`);
      await waitFor(async () => (await queue.counts()).active === 0, {
        what: 'the task to be stopped',
      });
      expect(await shop.tasks.outcome({ namespace: 'default', taskId: ticket.taskId })).toEqual(cancelled);
    },
  );

  it('says what is wrong when its code has been tampered with in the store', async () => {
    await deploy('tampered', 'export default () => "tampered"');
    const keys = (await shop.redis.keys('*blob*chunk*')).concat(await shop.redis.keys('*:upload:*'));
    for (const key of keys) {
      if ((await shop.redis.get(key))?.includes('"tampered"')) await shop.redis.set(key, 'export default () => "evil"');
    }
    const outcome = await settled(await run('tampered', {}));
    expect(outcome).toMatchObject({ status: 'failed', error: { code: 'CHECKSUM_MISMATCH' } });
  });

  it('gives back what it cannot end in time when it stops, and another one runs it', async () => {
    const ticket = await run('wait', { ms: 3000 });
    await waitFor(
      async () => (await shop.queues.of({ namespace: 'default', artifactId: 'wait' }).counts()).active === 1,
      {
        what: 'the task to run',
      },
    );
    await shop.stopWorker('worker-1', 50);
    expect((await shop.queues.of({ namespace: 'default', artifactId: 'wait' }).read(ticket.taskId))?.state).toBe(
      'pending',
    );
    await shop.startWorker('worker-2');
    expect(await settled(ticket)).toMatchObject({ status: 'completed', workerId: 'worker-2' });
  });
});
