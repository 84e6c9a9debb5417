import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import {
  artifactKeys,
  blobKeys,
  secretKeys,
  taskKeys,
  WORKER_INDEX,
  workerInstancesKey,
  workerKey,
} from '@pilum/core/redis/keys.ts';
import { FRAME_KINDS, packFrame, unpackFrames } from '@pilum/core/schemas/frame.ts';
import { identityOf, parseTicket, ticketProblems } from '@pilum/core/schemas/task.ts';
import { SecretStore } from '@pilum/core/secrets/secret-store.ts';
import { ArtifactStore, DEFAULT_SETTINGS } from '@pilum/core/store/artifact-store.ts';
import { BlobStore } from '@pilum/core/store/blob-store.ts';
import { currentVersion } from '@pilum/core/store/current-version.ts';
import { parseOutputMessage, parsePace } from '@pilum/core/store/output-store.ts';
import { parseOutcome } from '@pilum/core/store/read-outcome.ts';
import { parseStats } from '@pilum/core/store/stats.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { isKnown, UnknownVersion } from '@pilum/core/store/unknown-record.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { fill } from '../conformance/snapshots.ts';
import { keep } from '../support/kept.ts';
import { startRedis } from '../support/redis.ts';
import { outcomeFor, ticketFor } from '../support/tasks.ts';

const kept = keep();
let redis: Redis;
let artifacts: ArtifactStore;
let tasks: TaskStore;
beforeAll(async () => {
  const server = kept.add(await startRedis());
  redis = kept.add(connect({ url: server.url, name: 'records' }, () => undefined));
  artifacts = new ArtifactStore(redis);
  tasks = new TaskStore(redis, { ageS: 60, count: 100, framesAgeS: 60 });
});

/** Writes a version as another release would; gives its number. */
async function writeVersion(artifactId: string, number: number, change: (record: Stored) => void, state = 'ready') {
  const keys = artifactKeys({ namespace: 'default', artifactId });
  const { state: _beside, ...known } = fill({ runtime: 'process' });
  const record = structuredClone({ ...known, artifactId, version: number }) as unknown as Stored;
  change(record);
  await redis.hset(keys.artifact, { id: artifactId, runtime: 'process', createdAt: known.createdAt });
  await redis.hset(keys.versions, String(number), JSON.stringify(record));
  await redis.hset(keys.versionStates, String(number), state);
  await redis.zadd(keys.deployments, number, String(number));
}
interface Stored extends Record<string, unknown> {
  spec: Record<string, unknown>;
}

describe('a version', () => {
  it('keeps a field that this release does not know, and has the default of one that it lacks', async () => {
    await writeVersion('fields', 1, (record) => {
      record.region = 'north';
      delete record.code;
      delete record.contentHash;
      delete record.spec.labels;
    });
    expect(await artifacts.version({ namespace: 'default', artifactId: 'fields' }, 1)).toMatchObject({
      region: 'north',
      code: null,
      spec: { labels: {} },
    });
  });

  it.each<[string, (record: Stored) => void, string, string]>([
    ['runtime', ({ spec }) => Object.assign(spec, { runtime: 'vm' }), 'ready', '/spec/runtime'],
    ['protocol', ({ spec }) => Object.assign(spec, { protocol: 'grpc' }), 'ready', '/spec/protocol'],
    ['language', ({ spec }) => Object.assign(spec, { language: 'ruby' }), 'ready', '/spec/language'],
    [
      'network',
      ({ spec }) => Object.assign(spec.limits as object, { network: 'mesh' }),
      'ready',
      '/spec/limits/network',
    ],
    ['policy', ({ spec }) => Object.assign(spec.pool as object, { policy: 'nearest' }), 'ready', '/spec/pool/policy'],
    ['state', () => undefined, 'archived', '/state'],
    ['form', (record) => Object.assign(record, { spec: 'elsewhere' }), 'ready', '/spec'],
  ])(
    'with a %s that this release does not know leaves the others readable, and says what it is',
    async (what, change, state, where) => {
      const id = `words-${what}`;
      await writeVersion(id, 1, () => undefined);
      await writeVersion(id, 2, change, state);
      const versions = await artifacts.versions({ namespace: 'default', artifactId: id });
      expect(versions.map(({ version }) => version)).toEqual([2, 1]);
      expect(versions.map(isKnown)).toEqual([false, true]);
      const unknown = versions[0] as UnknownVersion;
      expect(unknown.problems.map((problem) => problem.where)).toContain(where);
      expect(unknown.says).toContain(`Version 2 of ${id} is of a newer release`);
      await expect(artifacts.version({ namespace: 'default', artifactId: id }, 2)).rejects.toMatchObject({
        code: 'RELEASE_TOO_OLD',
      });
      expect((await artifacts.version({ namespace: 'default', artifactId: id }, 1))?.version).toBe(1);
      // A bare id goes on to mean it, so that an older process does not call another one in its place.
      const deployments = await artifacts.deployments({ namespace: 'default', artifactId: id });
      const expected = state === 'ready' ? 2 : 1;
      expect(currentVersion({ versions, aliases: [], deployments })?.version).toBe(expected);
    },
  );

  it('whose record is no JSON leaves the others readable', async () => {
    await writeVersion('broken', 1, () => undefined);
    await redis.hset(artifactKeys({ namespace: 'default', artifactId: 'broken' }).versions, '2', '{"spec":');
    await redis.hset(artifactKeys({ namespace: 'default', artifactId: 'broken' }).versionStates, '2', 'ready');
    const versions = await artifacts.versions({ namespace: 'default', artifactId: 'broken' });
    expect(versions.map((version) => version instanceof UnknownVersion)).toEqual([true, false]);
  });
});

describe('the settings of an artifact', () => {
  it('are read each by itself, and what is not changed stays as it was written', async () => {
    await writeVersion('settings', 1, () => undefined);
    const { artifact } = artifactKeys({ namespace: 'default', artifactId: 'settings' });
    await redis.hset(artifact, 'settings', JSON.stringify({ weight: 7, paused: 'drain', rateLimit: 5 }));
    expect((await artifacts.artifact({ namespace: 'default', artifactId: 'settings' }))?.settings).toEqual({
      ...DEFAULT_SETTINGS,
      weight: 7,
    });
    await artifacts.changeSettings({ namespace: 'default', artifactId: 'settings' }, { reserved: 2 });
    const written: unknown = JSON.parse((await redis.hget(artifact, 'settings')) ?? '');
    expect(written).toEqual({ weight: 7, paused: 'drain', rateLimit: 5, reserved: 2 });
  });

  it('and the artifact itself are read with fields and a runtime that this release does not know', async () => {
    await redis.hset(artifactKeys({ namespace: 'default', artifactId: 'vm' }).artifact, {
      id: 'vm',
      runtime: 'vm',
      owner: 'ops',
    });
    const found = await artifacts.artifact({ namespace: 'default', artifactId: 'vm' });
    expect(found).toMatchObject({ id: 'vm', runtime: 'vm', latestVersion: 0, settings: DEFAULT_SETTINGS });
  });
});

describe('an alias', () => {
  it('that does not name one version leaves the others readable, and is none', async () => {
    await redis.hset(artifactKeys({ namespace: 'default', artifactId: 'aliases' }).aliases, {
      live: '{"2":0.9,"3":0.1}',
      old: '1',
    });
    const aliases = await artifacts.aliases({ namespace: 'default', artifactId: 'aliases' });
    expect(aliases).toEqual([
      { name: 'live', version: null },
      { name: 'old', version: 1 },
    ]);
    expect(currentVersion({ versions: [], aliases, deployments: [] })).toBeNull();
  });
});

describe('an outcome', () => {
  const ticket = ticketFor('outcomes');
  const outcome = outcomeFor(ticket, { status: 'failed' });
  const parse = (record: object) => parseOutcome(JSON.stringify(record));

  it('keeps a field that this release does not know, and has the default of one that it lacks', () => {
    const { recoveries: _one, coldStart: _two, workerId: _three, queuedMs: _four, ...older } = outcome;
    expect(parse({ ...older, cost: 3 })).toEqual({
      ...outcome,
      ...{ cost: 3, recoveries: 0, coldStart: false, workerId: null, queuedMs: 0 },
    });
  });

  it('with an error of a newer release has its message, and its code in the details', () => {
    const error = { code: 'QUOTA_USED', message: 'Too much.', details: { used: 7 } };
    expect(parse({ ...outcome, error }).error).toMatchObject({
      code: 'INTERNAL',
      message: 'Too much.',
      details: { used: 7, unknownCode: 'QUOTA_USED' },
    });
  });

  it.each([
    ['status', { status: 'skipped' }, '/status'],
    ['encoding', { result: { contentType: 'a/b', sizeBytes: 3, encoding: 'zstd', data: 'xyz' } }, '/result/encoding'],
  ])('with a %s of a newer release has failed as far as one can tell, and says what it is', (_what, change, where) => {
    const { error: _none, ...completed } = { ...outcome, status: 'completed', error: undefined };
    const read = parse({ ...completed, ...change });
    expect(read).toMatchObject({ ...identityOf(ticket), status: 'failed', runMs: outcome.runMs });
    expect(read.error).toMatchObject({ code: 'RELEASE_TOO_OLD', details: { problems: [{ where }] } });
    expect(read).not.toHaveProperty('result');
  });

  it('with a mode of a newer release is that of a task that nobody waits for', () => {
    expect(parse({ ...outcome, mode: 'batch' })).toEqual({ ...outcome, mode: 'async' });
  });

  it('is none where it does not say which task it is of', () => {
    expect(() => parse({ status: 'completed' })).toThrow('cannot read');
    expect(() => parse([])).toThrow('cannot read');
  });

  it('and the attempts before it are read in the same way', async () => {
    const key = taskKeys({ namespace: 'default', taskId: ticket.taskId }).attempts;
    const error = { code: 'QUOTA_USED', message: 'Too much.' };
    const attempt = { attempt: 1, startedAtMs: 1, finishedAtMs: 2, runMs: 1, error, zone: 'a' };
    await redis.rpush(key, JSON.stringify(attempt), JSON.stringify({ ...attempt, attempt: 2, error: outcome.error }));
    const [first, second] = await tasks.attempts({ namespace: 'default', taskId: ticket.taskId });
    expect(first).toMatchObject({
      ...{ attempt: 1, instanceId: null, workerId: '', retryAtMs: 0, zone: 'a' },
      error: { code: 'INTERNAL', message: 'Too much.', details: { unknownCode: 'QUOTA_USED' } },
    });
    expect(second).toMatchObject({ attempt: 2, error: outcome.error });
  });
});

describe('a ticket', () => {
  const ticket = ticketFor('tickets', { mode: 'async' });

  it('keeps a field that this release does not know, and has the default of one that it lacks', () => {
    const { maxAttempts: _one, headers: _two, replyTo: _three, priority: _four, queueMs: _five, ...older } = ticket;
    expect(parseTicket(JSON.stringify({ ...older, budget: 3 }))).toEqual({
      ...ticket,
      ...{ budget: 3, maxAttempts: 1, headers: {}, replyTo: null, priority: 5, queueMs: 86_400_000 },
    });
    expect(ticketProblems(ticket)).toEqual([]);
  });

  it.each([
    [{ mode: 'batch' }, '/mode'],
    [{ payload: { encoding: 'zstd', data: 'abc' } }, '/payload/encoding'],
    [{ payload: { encoding: 'elsewhere', url: 'a:b' } }, '/payload/encoding'],
  ])('with %j is readable, and its payload is left to newer releases', async (change, where) => {
    const read = parseTicket(JSON.stringify({ ...ticket, ...change }));
    expect(ticketProblems(read)).toMatchObject([{ where }]);
    await expect(tasks.payload(read)).rejects.toMatchObject({ code: 'RELEASE_TOO_OLD' });
    expect(read.taskId).toBe(ticket.taskId);
  });
});

describe('what a worker has written of itself', () => {
  const worker = {
    ...{ workerId: 'a', host: 'h', pid: 1, release: '9', startedAt: new Date(0).toISOString() },
    ...{ seenAt: new Date(1).toISOString(), running: 0, attached: 2 },
    capacity: { tasks: 4, cpu: 4, memoryMiB: 512 },
    inUse: { cpu: 0, memoryMiB: 0 },
    runtimes: [{ kind: 'process', available: true, isolation: 'sandbox', limits: [], notes: [] }],
  };
  const instance = {
    ...{ instanceId: 'i', workerId: 'a', namespace: 'default', artifactId: 'f', version: 1, state: 'ready' },
    ...{ createdAt: new Date(0).toISOString(), lastUsedAt: new Date(0).toISOString(), tasksRun: 0, taskId: null },
  };

  it('is read with fields and words of newer releases, and defaults for what an older one lacks', async () => {
    const { inUse: _one, attached: _two, ...rest } = worker;
    const microVm = { kind: 'vm', available: true, isolation: 'hypervisor', limits: ['kvm'], notes: [], fast: true };
    const newer = { ...worker, workerId: 'b', zone: 'x', runtimes: [microVm, ...worker.runtimes] };
    const older = { ...rest, workerId: 'c', runtimes: [{ kind: 'process', available: true }] };
    const broken = { ...worker, workerId: 7 };
    const { tasksRun: _runs, taskId: _task, ...fresh } = instance;
    const all = { a: worker, b: newer, c: older, d: broken };
    for (const [id, record] of Object.entries(all)) {
      await redis.zadd(WORKER_INDEX, Date.now(), id);
      await redis.set(workerKey(id), JSON.stringify(record));
    }
    const instances = [
      instance,
      { ...instance, instanceId: 'j', state: 'paused', zone: 'x' },
      { ...fresh, instanceId: 'k' },
      7,
    ];
    await redis.set(workerInstancesKey('a'), JSON.stringify(instances));
    const registry = new WorkerRegistry(redis);
    const workers = await registry.workers();
    expect(workers.map(({ workerId }) => workerId)).toEqual(['a', 'b', 'c']);
    expect(workers[0]).toEqual(worker);
    expect(workers[1]).toEqual(newer);
    expect(workers[2]).toMatchObject({ attached: 0, inUse: { cpu: 0, memoryMiB: 0 } });
    expect(workers[2]?.runtimes).toEqual([
      { kind: 'process', available: true, isolation: 'none', limits: [], notes: [] },
    ]);
    expect(await registry.instances()).toMatchObject([
      instance,
      { instanceId: 'j', state: 'paused', zone: 'x' },
      { instanceId: 'k', tasksRun: 0, taskId: null },
    ]);
  });
});

describe('a message between processes', () => {
  it('about a reader is read with fields of newer releases and without those of older ones', () => {
    const pace = { namespace: 'default', taskId: 'a.1', readerId: 'r', bytes: 7 };
    expect(parsePace(JSON.stringify({ ...pace, rate: 3 }))).toMatchObject(pace);
    expect(parsePace(JSON.stringify({ ...pace, bytes: undefined }))).toEqual({ ...pace, bytes: 0 });
    expect(parsePace(JSON.stringify({ ...pace, gone: 'perhaps' }))).toBeNull();
  });

  it('about output is read with more in its head, and with a kind of frame that this release does not know', () => {
    const frames = Buffer.concat([
      packFrame(FRAME_KINDS.text, Buffer.from('a')).bytes,
      packFrame(9 as typeof FRAME_KINDS.text, Buffer.from('b')).bytes,
    ]);
    const message = Buffer.concat([Buffer.from(`output 0 2 2 0 0 ${frames.length} sender more\n`), frames]);
    expect(parseOutputMessage(message)?.message).toMatchObject({ sender: 'sender', end: { frames: 2 } });
    expect(unpackFrames(frames).map(({ kind }) => kind)).toEqual([FRAME_KINDS.text, 9]);
  });
});

describe('what is kept of an artifact and its code', () => {
  it('is read with more than this release knows, and with less', async () => {
    const packed = Buffer.alloc(40);
    packed.writeDoubleLE(3, 0);
    packed.writeDoubleLE(1.5, 16);
    expect(parseStats(packed)).toEqual({ settled: 3, runMsSum: 0, averageRunMs: 1.5, averageQueuedMs: 0 });
    expect(parseStats(packed.subarray(0, 16))).toMatchObject({ settled: 3, runMsSum: 0, averageRunMs: null });
    const digest = `sha256:${'a'.repeat(64)}`;
    await redis.hset(blobKeys({ namespace: 'default', digest }).meta, {
      uploadId: 'u',
      chunks: '2',
      compressed: 'zstd',
    });
    const blobs = new BlobStore(redis, { blobBytes: 1000, quotaBytes: 1000 });
    expect(await blobs.info({ namespace: 'default', digest })).toEqual({ digest, sizeBytes: 0, chunks: 2 });
  });
});

describe('a secret', () => {
  it('is listed with defaults for what an older release did not write, and beside what a newer one has', async () => {
    const { records } = secretKeys('default');
    await redis.hset(records, 'older', JSON.stringify({ version: 1 }));
    await redis.hset(records, 'newer', JSON.stringify({ version: 2, sizeBytes: 5, isText: true, expiresAt: 'soon' }));
    const store = new SecretStore(redis);
    expect(await store.list('default')).toMatchObject([
      { name: 'newer', version: 2, sizeBytes: 5, keyId: '', expiresAt: 'soon' },
      { name: 'older', version: 1, sizeBytes: 0, setBy: '', usedBy: [] },
    ]);
    expect(await store.versions('default', ['newer', 'older', 'none'])).toEqual(
      new Map([
        ['newer', 2],
        ['older', 1],
        ['none', 0],
      ]),
    );
  });
});
