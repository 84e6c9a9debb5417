import { createLogger } from '@pilum/core/log/logger.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { artifactKeys, CHANNEL_CHANGED, WATCHED_ARTIFACTS } from '@pilum/core/redis/keys.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { convert } from '@pilum/core/schemas/check.ts';
import { ArtifactLists } from '@pilum/core/store/artifact-list.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { beforeAll, beforeEach, expect, it } from 'vitest';
import { ArtifactWatch, type SeenArtifact } from '../../apps/worker/src/artifacts/artifact-watch.ts';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

let server: TestRedis;
let redis: Redis;
let artifacts: ArtifactStore;
const kept = keep();
beforeAll(async () => {
  server = kept.add(await startRedis());
  redis = connect({ url: server.url, name: 'test' }, () => undefined);
  artifacts = new ArtifactStore(redis);
  kept.add({ close: async () => redis.disconnect() });
});
beforeEach(async () => {
  await redis.flushall();
});

const refOf = (artifactId: string) => ({ namespace: 'default', artifactId });

const specOf = (more: Record<string, unknown> = {}) =>
  convert(ArtifactSpec, { runtime: 'process', protocol: 'handler', language: 'node', ...more });

async function deploy(artifactId: string, min = 0): Promise<number> {
  const spec = specOf({ pool: { min, max: 4 } });
  const content = { contentHash: `${artifactId}-${min}`, spec: spec as never, code: null };
  const { version } = await artifacts.addVersion(refOf(artifactId), content);
  await artifacts.changeState(refOf(artifactId), version, 'ready');
  return version;
}

/** Makes all artifacts look as if they had been put on the list long ago. */
async function longAgo(): Promise<void> {
  for (const member of await redis.zrevrange(WATCHED_ARTIFACTS, 0, -1)) await redis.zadd(WATCHED_ARTIFACTS, 1, member);
}

const onList = async () => (await redis.zrevrange(WATCHED_ARTIFACTS, 0, -1)).sort();

async function watching(use: (seen: SeenArtifact[], subscriber: Subscriber) => Promise<void>): Promise<void> {
  const seen: SeenArtifact[] = [];
  const connection = connect({ url: server.url, name: 'watch' }, () => undefined);
  const subscriber = new Subscriber(connection, () => undefined);
  const watch = new ArtifactWatch({
    artifacts,
    watched: new ArtifactLists(redis).watched,
    onSeen: (one) => seen.push(one),
    logger: createLogger('test', 'silent'),
  });
  await watch.open(subscriber);
  try {
    await use(seen, subscriber);
  } finally {
    watch.close();
    subscriber.close();
    connection.disconnect();
  }
}

it('sees at its start what asks for something, and takes the rest off the list', async () => {
  await deploy('warm', 2);
  await deploy('quiet');
  await deploy('shared');
  await artifacts.changeSettings(refOf('shared'), { reserved: 1 });
  const { version } = await artifacts.addVersion(refOf('creating'), {
    contentHash: 'c',
    spec: specOf() as never,
    code: null,
  });
  await deploy('never-listed');
  await longAgo();
  await redis.zrem(WATCHED_ARTIFACTS, 'default/never-listed');
  await watching(async (seen) => {
    await waitFor(async () => (await onList()).length === 3, { what: 'the quiet one to go' });
    expect(await onList()).toEqual(['default/creating', 'default/shared', 'default/warm']);
    const of = (id: string) => seen.find(({ artifactId }) => artifactId === id);
    expect(of('warm')?.current?.spec.pool.min).toBe(2);
    expect(of('shared')?.settings?.reserved).toBe(1);
    expect(of('creating')?.creating.map((one) => one.version)).toEqual([version]);
    expect(of('quiet')?.current?.version).toBe(1);
    expect(of('never-listed')).toBeUndefined();
  });
});

it('leaves a change on the list until every worker has had the time to see it', async () => {
  await deploy('changed');
  await watching(async (seen) => {
    await waitFor(() => seen.length > 0, { what: 'the look' });
    expect(await onList()).toEqual(['default/changed']);
  });
});

it('sees a change whose message and list entry it has missed, of what it does something for', async () => {
  await deploy('warm', 1);
  await watching(async (seen, subscriber) => {
    await waitFor(() => seen.at(-1)?.current?.spec.pool.min === 1, { what: 'the first look' });
    // Another worker has seen the change, and taken it off.
    const quietly = artifactKeys(refOf('warm'));
    await redis.hset(quietly.artifact, 'deleted', Date.now());
    await redis.del(WATCHED_ARTIFACTS);
    const before = seen.length;
    // The connection was broken: what was said meanwhile is lost.
    await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await waitFor(() => seen.length > before, { what: 'the next look' });
    expect(seen.at(-1)).toMatchObject({ artifactId: 'warm', settings: null, current: null });
    expect(subscriber).toBeDefined();
  });
});

it('keeps on the list what a newer release has written, and puts there what an older one has not', async () => {
  await deploy('newer');
  const { versions } = artifactKeys(refOf('newer'));
  const record = JSON.parse((await redis.hget(versions, '1')) ?? '{}');
  await redis.hset(versions, '1', JSON.stringify({ ...record, spec: { ...record.spec, runtime: 'vm' } }));
  await deploy('older', 1);
  await longAgo();
  await redis.zrem(WATCHED_ARTIFACTS, 'default/older');
  await watching(async (seen) => {
    await waitFor(() => seen.length > 0, { what: 'the look' });
    expect(await onList()).toEqual(['default/newer']);
    await redis.publish(CHANNEL_CHANGED, 'default/older');
    await waitFor(async () => (await onList()).length === 2, { what: 'the artifact of the older release' });
  });
});
