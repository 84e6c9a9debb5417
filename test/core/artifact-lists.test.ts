import { createHash } from 'node:crypto';
import { Housekeeper } from '@pilum/core/housekeeping/housekeeper.ts';
import { LeaderLease } from '@pilum/core/housekeeping/leader-lease.ts';
import { createLogger } from '@pilum/core/log/logger.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { ACTIVE_ARTIFACTS, ARTIFACTS_LISTED, UNUSED_BLOBS } from '@pilum/core/redis/keys.ts';
import { type ArtifactList, ArtifactLists } from '@pilum/core/store/artifact-list.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { BlobStore } from '@pilum/core/store/blob-store.ts';
import { KeptStore } from '@pilum/core/store/kept-store.ts';
import { TaskIndex } from '@pilum/core/store/task-index.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, outcomeFor, ticketFor } from '../support/tasks.ts';
import { waitFor } from '../support/wait-for.ts';

let server: TestRedis;
let redis: Redis;
let queues: TaskQueues;
let artifacts: ArtifactStore;
let lists: ArtifactLists;
let tasks: TaskStore;
let blobs: BlobStore;
beforeAll(async () => {
  server = await startRedis();
  redis = connect({ url: server.url, name: 'test' }, () => undefined);
});
afterAll(async () => {
  redis.disconnect();
  await server.close();
});
beforeEach(async () => {
  await redis.flushall();
  queues = new TaskQueues(redis);
  artifacts = new ArtifactStore(redis);
  lists = new ArtifactLists(redis);
  tasks = new TaskStore(redis, { ageS: 100, count: 1000, framesAgeS: 100 });
  blobs = new BlobStore(redis, { blobBytes: 1e6, quotaBytes: 1e9 });
});

const refOf = (artifactId: string) => ({ namespace: 'default', artifactId });
const VERSION = { contentHash: 'a', spec: { runtime: 'process' } as never, code: null };
const AN_HOUR_AGO = () => Date.now() - 3_600_000;

async function idsOn(list: ArtifactList): Promise<string[]> {
  const ids: string[] = [];
  for await (const page of list.pages()) ids.push(...page.map(({ artifactId }) => artifactId));
  return ids.sort();
}

/** Puts an artifact on the list as if that had been an hour ago. */
const longOn = (artifactId: string) => redis.zadd(ACTIVE_ARTIFACTS, AN_HOUR_AGO(), `default/${artifactId}`);

/** Has a housekeeper at work meanwhile. */
async function withHousekeeper(use: () => Promise<void>): Promise<void> {
  const housekeeper = new Housekeeper({
    lease: new LeaderLease(redis, 'test', false),
    queues,
    tasks,
    artifacts,
    lists,
    kept: new KeptStore(redis),
    keptLimits: { artifactBytes: 1e9, namespaceBytes: 1e9 },
    collect: { blobs, graceMs: 0 },
    logger: createLogger('test', 'silent'),
  });
  housekeeper.open();
  try {
    await use();
  } finally {
    await housekeeper.close();
  }
}

describe('the list of active artifacts', () => {
  it('has an artifact with the first task that is accepted, and with each one that a worker takes', async () => {
    const queue = queues.of(refOf('called'));
    await accept(queue, ticketFor('called'));
    expect(await idsOn(lists.active)).toEqual(['called']);
    await redis.del(ACTIVE_ARTIFACTS);
    // Another process, such as a worker.
    await new TaskQueues(redis).of(refOf('called')).fetch('worker:1', 'worker');
    expect(await idsOn(lists.active)).toEqual(['called']);
  });

  it('is written once for many tasks', async () => {
    const queue = queues.of(refOf('busy'));
    await accept(queue, ticketFor('busy'));
    await redis.del(ACTIVE_ARTIFACTS);
    for (let i = 0; i < 20; i++) await accept(queue, ticketFor('busy'));
    expect(await idsOn(lists.active)).toEqual([]);
  });

  it('loses an idle artifact after a while, to the lists of recent ones and of those that hold something', async () => {
    for (const id of ['idle', 'holding']) await artifacts.addVersion(refOf(id), VERSION);
    await accept(queues.of(refOf('working')), ticketFor('working'));
    const ended = ticketFor('holding');
    const result = { contentType: 'text/plain', sizeBytes: 9000, encoding: 'beside' } as const;
    await tasks.settle(
      ended,
      { ...outcomeFor(ended, { status: 'completed' }), result },
      { result: Buffer.alloc(9000) },
    );
    await lists.noteKept();
    await lists.active.put(refOf('fresh'));
    for (const id of ['idle', 'holding', 'working']) await longOn(id);
    await withHousekeeper(async () => {
      await waitFor(async () => (await idsOn(lists.active)).length === 2, { what: 'idle ones to go' });
    });
    expect(await idsOn(lists.active)).toEqual(['fresh', 'working']);
    expect(await idsOn(lists.recent)).toEqual(['holding', 'idle']);
    expect(await idsOn(lists.holding)).toEqual(['holding']);
  });

  it('keeps an artifact that was put there again since it was seen', async () => {
    await longOn('again');
    const [seen] = (await lists.active.page('0')).artifacts;
    if (seen === undefined) throw new Error('nothing is on the list');
    await lists.active.put(seen);
    expect(await lists.active.takeOff(seen)).toBe(false);
    expect(await idsOn(lists.active)).toEqual(['again']);
  });

  it('gets what was lost from it: a task that nobody announces is ended at its deadline all the same', async () => {
    await lists.noteKept();
    await artifacts.addVersion(refOf('lost'), VERSION);
    const ticket = ticketFor('lost', { queueMs: 1 });
    await accept(queues.of(refOf('lost')), ticket);
    await redis.del(ACTIVE_ARTIFACTS);
    await withHousekeeper(async () => {
      await waitFor(async () => (await tasks.outcome(ticket)) !== null, { what: 'its outcome' });
    });
    expect((await tasks.outcome(ticket))?.error?.code).toBe('QUEUE_TIMEOUT');
  });

  it('is filled once from all artifacts of a Redis that had no lists', async () => {
    for (const id of ['one', 'two']) await artifacts.addVersion(refOf(id), VERSION);
    const bytes = Buffer.from('code of a release before');
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await blobs.put({ namespace: 'default', digest }, [bytes]);
    await redis.del(ACTIVE_ARTIFACTS, UNUSED_BLOBS, '{pilum:artifacts}:watched');
    await withHousekeeper(async () => {
      await waitFor(async () => (await redis.exists(ARTIFACTS_LISTED)) === 1, { what: 'the lists' });
    });
    expect(await idsOn(lists.watched)).toEqual(['one', 'two']);
    expect(await idsOn(lists.active)).toEqual(['one', 'two']);
    expect(await redis.zrevrange(UNUSED_BLOBS, 0, -1)).toEqual([`default/${digest}`]);
  });

  it('has a deleted artifact until nothing is left of it', async () => {
    await lists.noteKept();
    await artifacts.addVersion(refOf('gone'), VERSION);
    await artifacts.delete(refOf('gone'));
    expect(await idsOn(lists.active)).toEqual(['gone']);
    await withHousekeeper(async () => {
      await waitFor(async () => (await artifacts.count()) === 0, { what: 'its end' });
    });
    expect(await idsOn(lists.active)).toEqual([]);
  });
});

describe('the latest artifacts', () => {
  it('are all where there are few, else those that are active, then those that were last', async () => {
    for (const id of ['a', 'b', 'c', 'd']) await artifacts.addVersion(refOf(id), VERSION);
    const latest = async (most: number) => {
      const ids: string[] = [];
      for await (const page of artifacts.latest(most)) ids.push(...page.map(({ artifactId }) => artifactId));
      return ids;
    };
    expect(await latest(4)).toEqual(['a', 'b', 'c', 'd']);
    await lists.recent.put(refOf('b'));
    await lists.recent.put(refOf('c'));
    await lists.active.put(refOf('d'));
    await lists.active.put(refOf('c'));
    expect((await latest(3)).toSorted()).toEqual(['b', 'c', 'd']);
    expect(await latest(1)).toHaveLength(1);
  });
});

describe('the collection of code', () => {
  const put = async (text: string) => {
    const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`;
    await blobs.put({ namespace: 'default', digest }, [Buffer.from(text)]);
    return { namespace: 'default', digest };
  };

  it('asks only for what may be unused', async () => {
    const needed = await put('needed');
    await blobs.refer(needed, 'some');
    const unused = await put('unused');
    expect(await blobs.collect(Date.now() + 1000)).toBe(1);
    expect(await blobs.info(unused)).toBeNull();
    // It is not looked at again before it may be unused.
    expect(await redis.zcard(UNUSED_BLOBS)).toBe(0);
    expect(await blobs.collect(Date.now() + 1000)).toBe(0);
    await blobs.unrefer(needed, 'some');
    expect(await blobs.collect(Date.now() - 10_000)).toBe(0);
    expect(await blobs.collect(Date.now() + 1000)).toBe(1);
    expect(await blobs.info(needed)).toBeNull();
  });

  it('leaves what is stored again or needed again in the meantime', async () => {
    const ref = await put('twice');
    await redis.zadd(UNUSED_BLOBS, AN_HOUR_AGO(), `default/${ref.digest}`);
    // Its own record says that it was stored a moment ago.
    expect(await blobs.collect(Date.now() - 10_000)).toBe(0);
    expect(Number(await redis.zscore(UNUSED_BLOBS, `default/${ref.digest}`))).toBeGreaterThan(AN_HOUR_AGO() + 1000);
    expect((await blobs.info(ref))?.sizeBytes).toBe(5);
  });
});

describe('the index of the tasks of a namespace', () => {
  it('has the newest first, a page at a time, and another namespace has its own', async () => {
    const index = new TaskIndex(redis);
    const noted = Array.from({ length: 1200 }, (_, i) => ticketFor(`artifact-${i % 7}`));
    for (const ticket of noted) index.note('recent', ticket);
    index.note('recent', ticketFor('other', { namespace: 'other' }));
    await index.write();
    const newest = noted.map(({ taskId }) => taskId).reverse();
    const first = await index.list('recent', 'default', null, 50);
    expect(first).toEqual(newest.slice(0, 50));
    const before = first.at(-1)?.slice(-26) ?? '';
    expect(await index.list('recent', 'default', before, 50)).toEqual(newest.slice(50, 100));
    expect(await index.list('recent', 'other', null, 50)).toHaveLength(1);
    expect(await index.list('unsuccessful', 'default', null, 50)).toEqual([]);
  });

  it('is written a moment after a task that failed, by itself', async () => {
    const failed = ticketFor('failing');
    await tasks.settle(failed, outcomeFor(failed, { status: 'failed' }));
    const listed = () => tasks.index.list('unsuccessful', 'default', null, 10);
    await waitFor(async () => (await listed()).length > 0, { what: 'the task in the index' });
    expect(await listed()).toEqual([failed.taskId]);
  });
});
