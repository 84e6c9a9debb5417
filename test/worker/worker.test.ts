import { createHash } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfiguration } from '@pilum/core/config/config.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { CHANNEL_CANCEL } from '@pilum/core/redis/keys.ts';
import { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { convert } from '@pilum/core/schemas/check.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { BlobStore } from '@pilum/core/store/blob-store.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRuntimes } from '../../apps/worker/src/runtimes/registry.ts';
import { Worker } from '../../apps/worker/src/worker.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, outcomeFor, ticketFor } from '../support/tasks.ts';
import { waitFor } from '../support/wait-for.ts';

let server: TestRedis;
let redis: Redis;
let queues: TaskQueues;
let tasks: TaskStore;
let artifacts: ArtifactStore;
let directory: string;
const open: { worker: Worker; redis: Redis }[] = [];

beforeAll(async () => {
  server = await startRedis();
  redis = connect({ url: server.url, name: 'test' }, () => undefined);
  queues = new TaskQueues(redis);
  tasks = new TaskStore(redis, { ageS: 100, count: 1000 });
  artifacts = new ArtifactStore(redis);
  directory = await mkdtemp(join(tmpdir(), 'pilum-worker-'));
  // Passable, so that sandboxes of a root worker find their code in it and nothing is left elsewhere.
  await chmod(directory, 0o711);
});
afterAll(async () => {
  await Promise.all(open.map(({ worker }) => worker.close(0)));
  for (const one of open) one.redis.disconnect();
  await queues.close();
  redis.disconnect();
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

async function startWorker(workerId: string, env: Record<string, string> = {}): Promise<Worker> {
  const configuration = readConfiguration({
    PILUM_REDIS_URL: server.url,
    PILUM_DATA: join(directory, workerId),
    PILUM_WORKER_ID: workerId,
    ...env,
  });
  const logger = pino({ level: 'silent' });
  const own = connect({ url: server.url, name: workerId }, () => undefined);
  const subscriberRedis = connect({ url: server.url, name: `${workerId}-messages` }, () => undefined);
  const worker = new Worker({
    configuration,
    release: 'test',
    redis: own,
    subscriberRedis,
    logger,
    ...(await createRuntimes(configuration, logger)),
  });
  await worker.open();
  open.push({ worker, redis: own });
  return worker;
}

/** Deploys JavaScript as the API would. */
async function deploy(artifactId: string, source: string, spec: Record<string, unknown> = {}): Promise<void> {
  const bytes = Buffer.from(source);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const blobs = new BlobStore(redis, { blobBytes: 1e6, quotaBytes: 1e7 });
  await blobs.put(
    'default',
    digest,
    (async function* () {
      yield bytes;
    })(),
  );
  await blobs.refer('default', digest, artifactId);
  const resolved = convert(ArtifactSpec, { runtime: 'process', protocol: 'handler', language: 'node', ...spec });
  const { version } = await artifacts.addVersion('default', artifactId, {
    contentHash: digest,
    spec: resolved as never,
    code: { digest, format: 'file', sizeBytes: bytes.length, fileName: 'index.mjs' },
  });
  await artifacts.changeState('default', artifactId, version, 'ready');
}

const settled = (ticket: Ticket): Promise<Outcome> =>
  waitFor(() => tasks.outcome('default', ticket.taskId), {
    what: `the outcome of ${ticket.taskId}`,
    timeoutMs: 30_000,
  });

async function run(artifactId: string, event: unknown, changes: Partial<Ticket> = {}): Promise<Ticket> {
  const ticket = ticketFor(artifactId, { payload: { encoding: 'utf8', data: JSON.stringify(event) }, ...changes });
  await accept(queues.of('default', artifactId), ticket);
  return ticket;
}

describe('a worker', () => {
  it('finds what waited before it came, runs it warm the second time, and says that it is there', async () => {
    await deploy('count', 'let n = 0; export default () => ++n');
    const first = await run('count', {});
    await startWorker('worker-1', { PILUM_WORKER_CAPACITY: '2' });
    expect(await settled(first)).toMatchObject({ status: 'completed', coldStart: true, workerId: 'worker-1' });
    const second = await settled(await run('count', {}));
    expect(second).toMatchObject({ coldStart: false, result: { data: '2' } });
    const registry = new WorkerRegistry(redis);
    expect((await registry.workers()).map((worker) => worker.workerId)).toEqual(['worker-1']);
  });

  it('runs no more at once than it has slots, and leaves the rest in Redis', async () => {
    await deploy('wait', 'export default (e) => new Promise((r) => setTimeout(() => r(1), e.ms))');
    const queue = queues.of('default', 'wait');
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
    expect(quiet.queuedMs).toBeLessThan(700); // twenty of 100 ms in two slots would be 1000
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
    const queue = queues.of('default', 'count');
    await queue.setPaused(true);
    const ticket = await run('count', {}, { keyed: true });
    const standing = outcomeFor(ticket, { status: 'failed' });
    await tasks.settle(ticket, standing);
    await queue.setPaused(false);
    await waitFor(
      async () => {
        const { waiting, active } = await queue.counts();
        return waiting + active === 0;
      },
      { what: 'the job to be finished' },
    );
    expect(await tasks.outcome('default', ticket.taskId)).toEqual(standing);
    const next = await settled(await run('count', {}));
    expect(Number(next.result?.data)).toBe(Number(first.result?.data) + 1);
  });

  it.each(['at once when it hears of it', 'soon when the message is lost'])(
    'stops a running task that was cancelled: %s',
    async (how) => {
      await deploy('endless', 'export default () => new Promise(() => {})');
      const ticket = await run('endless', {});
      const queue = queues.of('default', 'endless');
      await waitFor(async () => (await queue.read(ticket.taskId))?.state === 'running', { what: 'the task to run' });
      const cancelled = outcomeFor(ticket, { status: 'cancelled' });
      await tasks.settle(ticket, cancelled);
      if (how.startsWith('at once')) await redis.publish(CHANNEL_CANCEL, `default/${ticket.taskId}`);
      await waitFor(async () => (await queue.counts()).active === 0, {
        what: 'the task to be stopped',
        timeoutMs: 5000,
      });
      expect(await tasks.outcome('default', ticket.taskId)).toEqual(cancelled);
    },
  );

  it('says what is wrong when its code has been tampered with in the store', async () => {
    await deploy('tampered', 'export default () => "tampered"');
    const keys = (await redis.keys('*blob*chunk*')).concat(await redis.keys('*:upload:*'));
    for (const key of keys) {
      if ((await redis.get(key))?.includes('"tampered"')) await redis.set(key, 'export default () => "evil"');
    }
    const outcome = await settled(await run('tampered', {}));
    expect(outcome).toMatchObject({ status: 'failed', error: { code: 'CHECKSUM_MISMATCH' } });
  });

  it('gives back what it cannot end in time when it stops, and another one runs it', async () => {
    const ticket = await run('wait', { ms: 3000 });
    await waitFor(async () => (await queues.of('default', 'wait').counts()).active === 1, { what: 'the task to run' });
    const [first] = open.splice(0, 1);
    await first?.worker.close(50);
    first?.redis.disconnect();
    expect((await queues.of('default', 'wait').read(ticket.taskId))?.state).toBe('pending');
    await startWorker('worker-2');
    expect(await settled(ticket)).toMatchObject({ status: 'completed', workerId: 'worker-2' });
  }, 20_000);
});
