import { readFileSync } from 'node:fs';
import { artifactKeys, taskKeys } from '@pilum/core/redis/keys.ts';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { processesWith } from '../conformance/processes.ts';
import { tableBomb } from '../support/module-bytes.ts';
import { waitFor } from '../support/wait-for.ts';
import { Workshop } from './support/workshop.ts';

const statOf = (pid: number) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
/** What a process has used of a processor; Linux counts in hundredths of a second. */
const processorMs = (pid: number) => (Number(statOf(pid)[11]) + Number(statOf(pid)[12])) * 10;
/** Of this process's worker. */
const engines = () => processesWith('/main.mjs').filter((pid) => Number(statOf(pid)[1]) === process.pid);

let shop: Workshop;
beforeAll(async () => {
  shop = await Workshop.open();
  await shop.deploy('quick', 'export default (event) => event.value');
  await shop.deploy('slow', 'export default (event) => new Promise((done) => setTimeout(done, event.ms, event.value))');
  await shop.deploy('dies', "export default () => process.kill(process.pid, 'SIGKILL')");
});
afterAll(async () => await shop.close());

/** A task under which so many workers have died. */
async function lost(artifactId: string, event: unknown, workers: number, suspicion?: string): Promise<Ticket> {
  const ticket = await shop.run(artifactId, event);
  await shop.redis.hset(artifactKeys({ namespace: 'default', artifactId }).queueKeys + ticket.taskId, {
    stc: workers,
    ats: workers,
  });
  if (suspicion !== undefined)
    await shop.redis.set(taskKeys({ namespace: 'default', taskId: ticket.taskId }).suspicion, suspicion);
  return ticket;
}

test('workers that died under a task cost it none of its recoveries, and what is held against it decides', async () => {
  const tickets = {
    once: await lost('quick', { value: 1 }, 1),
    fourTimes: await lost('quick', { value: 2 }, 4, '2 2'),
    often: await lost('quick', { value: 3 }, 40),
    alone: await lost('quick', { value: 4 }, 5, '3 3'),
    ever: await lost('quick', { value: 5 }, 14, '12 0'),
    dies: await lost('dies', {}, 4),
  };
  await shop.startWorker('one');
  const of = async (ticket: Ticket) => await shop.settled(ticket);
  expect(await of(tickets.once)).toMatchObject({ status: 'completed', recoveries: 1 });
  expect(await of(tickets.fourTimes)).toMatchObject({ status: 'completed', recoveries: 4 });
  expect(await of(tickets.often)).toMatchObject({ status: 'completed', recoveries: 40 });
  expect(await of(tickets.alone)).toMatchObject({
    status: 'failed',
    recoveries: 4,
    error: {
      code: 'INSTANCE_LOST',
      message: '5 workers died under the task, 3 of them when it had just begun, alone: it is not run again.',
      details: { workersLost: 5, workersLostAlone: 3 },
    },
  });
  expect(await of(tickets.ever)).toMatchObject({ error: { code: 'INSTANCE_LOST', details: { workersLost: 14 } } });
  // Its own deaths are its own: four runs, as of any.
  expect(await of(tickets.dies)).toMatchObject({ status: 'failed', recoveries: 7, error: { code: 'INSTANCE_LOST' } });
  for (const { taskId } of Object.values(tickets)) {
    expect(await shop.redis.exists(taskKeys({ namespace: 'default', taskId }).suspicion)).toBe(0);
  }
  await shop.stopWorker('one');
});

test('a suspect is charged with the worker for as long as it is alone there, and others wait for so long', async () => {
  const suspect = await lost('slow', { value: 'suspect', ms: 700 }, 2);
  await shop.startWorker('two');
  const charge = async () => await shop.redis.get(taskKeys({ namespace: 'default', taskId: suspect.taskId }).suspicion);
  await waitFor(async () => (await charge()) === '1 1', { what: 'the charge' });
  const other = await shop.run('quick', { value: 'other' });
  const first = await shop.settled(suspect);
  expect(first).toMatchObject({ status: 'completed', recoveries: 2 });
  const second = await shop.settled(other);
  expect(second).toMatchObject({ status: 'completed', recoveries: 0 });
  expect(second.finishedAtMs).toBeGreaterThanOrEqual((first.startedAtMs ?? 0) + 700);
  expect(await charge()).toBe(null);
  await shop.stopWorker('two');
});

test('a worker that stops in good order holds nothing against what it gives back', async () => {
  const suspect = await lost('slow', { value: 'suspect', ms: 60_000 }, 2, '1 1');
  await shop.startWorker('three');
  const charge = async () => await shop.redis.get(taskKeys({ namespace: 'default', taskId: suspect.taskId }).suspicion);
  await waitFor(async () => (await charge()) === '2 2', { what: 'the charge' });
  await shop.stopWorker('three');
  expect(await charge()).toBe('1 1');
});

test('an engine that dies under several calls charges none of them, and each is run again in one of its own', async () => {
  await shop.deploy('spin', tableBomb(), { runtime: 'wasm', protocol: 'wasi', language: undefined }, 'main.wasm');
  const tickets = [await shop.run('spin', {}), await shop.run('spin', {})];
  await shop.startWorker('four', { PILUM_ISOLATION: 'none' });
  const runs = async () => {
    const logs = tickets.map(({ taskId }) => shop.redis.lrange(taskKeys({ namespace: 'default', taskId }).log, 0, -1));
    return (await Promise.all(logs)).map((log) => log.join('').match(/run again/g)?.length ?? 0);
  };
  await waitFor(
    async () => (await shop.queues.of({ namespace: 'default', artifactId: 'spin' }).counts()).active === 2,
    { what: 'both' },
  );
  await waitFor(() => engines().length === 1, { what: 'the engine' });
  const [common = 0] = engines();
  await waitFor(() => processorMs(common) > 1000, { what: 'both to be at it', timeoutMs: 40_000 });
  process.kill(common, 'SIGKILL');
  await waitFor(async () => (await runs()).join() === '1,1', { what: 'both to be run again' });
  await waitFor(() => engines().length === 2, { what: 'an engine of its own' });
  for (const { taskId } of tickets) expect(await shop.tasks.losses({ namespace: 'default', taskId })).toBe(0);
  await shop.stopWorker('four');
}, 90_000);
