// Slots that a worker offers, from task to task. No housekeeper goes round here: what a message or an answer does not bring
// about does not happen.

import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { artifactKeys, CHANNEL_WORK, HOUSEKEEPER, workerChannel } from '@pilum/core/redis/keys.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { accept, outcomeFor, ticketFor } from '../support/tasks.ts';
import { waitFor } from '../support/wait-for.ts';
import { Workshop } from './support/workshop.ts';

const COUNTER = 'const id = Math.random(); let n = 0; export default () => ({ id, n: ++n })';

let shop: Workshop;
let listener: Redis;
const announced: string[] = [];

const kept = keep();
beforeAll(async () => {
  shop = kept.add(await Workshop.open());
  await shop.redis.set(HOUSEKEEPER, 'nobody');
  listener = kept.add(connect({ url: shop.server.url, name: 'listener' }, () => undefined));
  listener.on('message', (_channel: string, message: string) => announced.push(message));
  await listener.subscribe(CHANNEL_WORK);
  await shop.startWorker('large', { PILUM_WORKER_CAPACITY: '4' });
});

const offersOf = (artifactId: string) =>
  shop.redis.lrange(artifactKeys({ namespace: 'default', artifactId }).offers, 0, -1);
const untilOffered = (artifactId: string, count = 1) =>
  waitFor(async () => (await offersOf(artifactId)).length === count, { what: `${count} offers for ${artifactId}` });

/** Runs a task to its outcome, and until its slot is offered. */
async function runOne(artifactId: string, changes: Partial<Ticket> = {}): Promise<Outcome> {
  const outcome = await shop.settled(await shop.run(artifactId, {}, changes));
  expect(outcome).toMatchObject({ status: 'completed', recoveries: 0 });
  await untilOffered(artifactId);
  return outcome;
}

const countOf = ({ result }: Outcome) => JSON.parse(result?.data ?? 'null') as { id: number; n: number };

/** Times that the workers were told of an artifact until now. */
async function announcements(artifactId: string): Promise<number> {
  await listener.ping();
  return announced.filter((one) => one === `default/${artifactId}`).length;
}

describe('a warm call', () => {
  it('is handed over: the workers are not told of it', async () => {
    await shop.deploy('warm', COUNTER);
    const first = await runOne('warm');
    expect(first.coldStart).toBe(true);
    const before = await announcements('warm');
    for (let i = 2; i <= 6; i++) {
      const outcome = await runOne('warm');
      expect(outcome.coldStart).toBe(false);
      expect(countOf(outcome)).toEqual({ id: countOf(first).id, n: i });
    }
    expect(await announcements('warm')).toBe(before);
  });

  it('is handed over as well where two versions take turns', async () => {
    await shop.deploy('turns', `${COUNTER} // one`);
    await shop.deploy('turns', `${COUNTER} // two`);
    for (const version of [1, 2]) await runOne('turns', { version });
    const before = await announcements('turns');
    for (let i = 0; i < 3; i++) {
      for (const version of [1, 2])
        expect(await runOne('turns', { version })).toMatchObject({ coldStart: false, version });
    }
    expect(await announcements('turns')).toBe(before);
  });
});

describe('a worker with one slot', () => {
  beforeAll(async () => {
    await shop.stopWorker('large');
    await shop.startWorker('small', { PILUM_WORKER_CAPACITY: '1' });
  });

  it('takes its offer back for another artifact, and then the other way round', async () => {
    for (const id of ['here', 'there']) await shop.deploy(id, COUNTER);
    for (let i = 0; i < 3; i++) {
      for (const [one, other] of [
        ['here', 'there'],
        ['there', 'here'],
      ] as const) {
        await runOne(one);
        expect(await offersOf(other)).toEqual([]);
      }
    }
  });

  it('serves more artifacts than it has room for', async () => {
    const ids = Array.from({ length: 4 }, (_, i) => `many-${i}`);
    for (const id of ids) await shop.deploy(id, COUNTER);
    for (let round = 0; round < 2; round++) {
      const tickets = await Promise.all([...ids, ...ids].map((id) => shop.run(id, {})));
      for (const ticket of tickets) expect((await shop.settled(ticket)).status).toBe('completed');
    }
    await waitFor(
      async () => {
        const offers = await Promise.all(ids.map(offersOf));
        return offers.flat().length <= 1;
      },
      { what: 'one offer at most' },
    );
  });

  it('is offered no more once its queue is paused, and runs what waited when that goes on', async () => {
    await runOne('here');
    const queue = shop.queues.of({ namespace: 'default', artifactId: 'here' });
    await queue.setPaused(true);
    const ticket = await shop.run('here', {});
    expect((await queue.read(ticket.taskId))?.state).toBe('pending');
    await queue.setPaused(false);
    expect((await shop.settled(ticket)).status).toBe('completed');
    await untilOffered('here');
  });
});

describe('an idle instance that goes', () => {
  it('takes its offer with it when it has been idle for long', async () => {
    await shop.deploy('brief', COUNTER, { pool: { idleTimeoutMs: 400 } });
    await runOne('brief');
    await untilOffered('brief', 0);
    expect(countOf(await runOne('brief')).n).toBe(1);
  });

  it('takes its offer with it when an operator stops it', async () => {
    await shop.deploy('stopped', COUNTER);
    const { instanceId } = await runOne('stopped');
    await shop.redis.publish(workerChannel('small'), JSON.stringify({ order: 'stop-instance', instanceId }));
    await untilOffered('stopped', 0);
    expect(countOf(await runOne('stopped')).n).toBe(1);
  });
});

describe('an artifact that is deleted', () => {
  it('leaves no offers behind, and its slot is free for others', async () => {
    await shop.deploy('deleted', COUNTER);
    await runOne('deleted');
    await shop.artifacts.delete({ namespace: 'default', artifactId: 'deleted' });
    expect(await offersOf('deleted')).toEqual([]);
    await runOne('here');
    await shop.artifacts.forget({ namespace: 'default', artifactId: 'deleted' });
    expect(await shop.redis.exists(artifactKeys({ namespace: 'default', artifactId: 'deleted' }).offers)).toBe(0);
  });
});

describe('a job that is handed over', () => {
  it('is not run where its message comes so late that others have seen to it', async () => {
    await shop.deploy('late', COUNTER);
    const { n } = countOf(await runOne('late'));
    const acceptedAtMs = Date.now() - 10_000;
    const ticket = ticketFor('late', { acceptedAtMs, dueAtMs: acceptedAtMs });
    const standing = outcomeFor(ticket, { status: 'failed' });
    await Promise.all([
      accept(shop.queues.of({ namespace: 'default', artifactId: 'late' }), ticket),
      shop.tasks.settle(ticket, standing),
    ]);
    await waitFor(
      async () => (await shop.queues.of({ namespace: 'default', artifactId: 'late' }).counts()).active === 0,
      {
        what: 'the job to be ended',
      },
    );
    expect(await shop.tasks.outcome({ namespace: 'default', taskId: ticket.taskId })).toEqual(standing);
    await untilOffered('late');
    expect(countOf(await runOne('late')).n).toBe(n + 1);
  });

  it('is given back where no slot of that name is there', async () => {
    await runOne('late');
    const [offer] = await offersOf('late');
    // Of another life of this worker, it seems.
    await shop.redis.rpush(
      artifactKeys({ namespace: 'default', artifactId: 'late' }).offers,
      `${offer?.split(':')[0]}:0`,
    );
    const ticket = await shop.run('late', {});
    expect(await shop.settled(ticket)).toMatchObject({ status: 'completed', recoveries: 0 });
  });
});

describe('a worker', () => {
  beforeAll(async () => {
    await shop.deploy('load', COUNTER, { pool: { max: 4 } });
    await shop.startWorker('wide', { PILUM_WORKER_CAPACITY: '4' });
  });

  it.each([
    ['for messages', /^id=(\d+) .* name=(?:wide|small)-messages /gm],
    ['for commands', /^id=(\d+) .* name=(?:wide|small) /gm],
  ])('loses and doubles nothing where its connection %s breaks under load', async (_, pattern) => {
    const outcomes: Outcome[] = [];
    let killed = 0;
    const caller = async () => {
      for (let i = 0; i < 60; i++) {
        outcomes.push(await shop.settled(await shop.run('load', {})));
        if (outcomes.length % 20 !== 0) continue;
        const clients = (await shop.redis.client('LIST')) as string;
        for (const [, id] of clients.matchAll(pattern)) {
          killed += Number(await shop.redis.client('KILL', 'ID', id ?? ''));
        }
      }
    };
    await Promise.all(Array.from({ length: 5 }, caller));
    expect(killed).toBeGreaterThan(2);
    expect(outcomes.filter(({ status, recoveries }) => status !== 'completed' || recoveries > 0)).toEqual([]);
    // Each run counts up: of every instance each number came out once.
    const runs = new Map<number, number[]>();
    for (const { id, n } of outcomes.map(countOf)) runs.set(id, [...(runs.get(id) ?? []), n]);
    for (const numbers of runs.values()) {
      const [first = 0] = numbers.sort((a, b) => a - b);
      expect(numbers).toEqual(Array.from(numbers, (_, i) => first + i));
    }
    expect(await shop.queues.of({ namespace: 'default', artifactId: 'load' }).counts()).toMatchObject({
      waiting: 0,
      active: 0,
    });
  });

  it('leaves no offers behind when it stops', async () => {
    await shop.stopWorker('wide');
    // The first one may make way for who has heard of work that the other worker has done.
    await shop.settled(await shop.run('here', {}));
    await runOne('here');
    await shop.stopWorker('small');
    for (const key of await shop.redis.keys('*:offers')) expect(await shop.redis.lrange(key, 0, -1)).toEqual([]);
    expect(await new WorkerRegistry(shop.redis).workers()).toEqual([]);
  });
});
