import { connect } from '@pilum/core/redis/connect.ts';
import { Version } from '@pilum/core/schemas/artifact.ts';
import { matches, readRecord } from '@pilum/core/schemas/check.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { parseOutcome } from '@pilum/core/store/read-outcome.ts';
import { describe, expect, it } from 'vitest';
import { fill } from '../conformance/snapshots.ts';
import { startRedis } from '../support/redis.ts';

const version = fill({
  runtime: 'process',
  env: { LEVEL: 'debug', OTHER: '1' },
  labels: { team: 'search' },
  dependsOn: ['fonts@2'],
  limits: { memoryMiB: 128 },
});
const copy = () => structuredClone(version) as unknown as Record<string, Record<string, Record<string, unknown>>>;

describe('a record of another release', () => {
  it('keeps what a newer one has written when this one has made the version ready', async () => {
    const redis = await startRedis();
    const connection = connect({ url: redis.url, name: 'records' }, () => undefined);
    try {
      const artifacts = new ArtifactStore(connection);
      const { spec, contentHash } = version;
      const content = { contentHash, spec: { ...spec, durable: { maxMs: 1000 } } as typeof spec, code: null };
      const { version: number } = await artifacts.addVersion({ namespace: 'default', artifactId: 'newer' }, content);
      const added = await artifacts.version({ namespace: 'default', artifactId: 'newer' }, number);
      expect(await artifacts.claimPreparation({ namespace: 'default', artifactId: 'newer' }, number, 'worker')).toBe(
        true,
      );
      expect(await artifacts.finishPreparation('default', added!, 'worker', {})).toBe(true);
      expect(await artifacts.version({ namespace: 'default', artifactId: 'newer' }, number)).toMatchObject({
        state: 'ready',
        spec: { durable: { maxMs: 1000 } },
      });
    } finally {
      connection.disconnect();
      await redis.close();
    }
  });

  it('is read with the fields that this one does not know, wherever they stand: it may be written back', () => {
    const newer = copy();
    Object.assign(newer, { region: 'north' });
    Object.assign(newer.spec ?? {}, { durable: { maxMs: 1000 } });
    Object.assign(newer.spec?.limits ?? {}, { diskReadMiBps: 100 });
    Object.assign(newer.spec?.retry?.backoff ?? {}, { most: 5 });
    expect(matches(Version, newer)).toBe(false);
    expect(readRecord(Version, newer)).toEqual(newer);
    // A record that is newer in one place and older in another keeps the one and gets the other.
    delete newer.spec?.limits?.outputMiB;
    const read = readRecord(Version, newer);
    expect(read).toHaveProperty('spec.durable.maxMs', 1000);
    expect(read?.spec.limits.outputMiB).toBe(version.spec.limits.outputMiB);
    // The record that was handed in stays as it was.
    expect(newer).not.toHaveProperty('spec.limits.outputMiB');
  });

  it('is read with the defaults of the fields that it does not have', () => {
    const older = copy();
    delete older.spec?.limits?.outputMiB;
    delete older.spec?.pool?.healthCheckIntervalMs;
    delete older.spec?.labels;
    const read = readRecord(Version, older);
    expect(read?.spec.limits).toEqual(version.spec.limits);
    expect(read?.spec.pool).toEqual(version.spec.pool);
    expect(read?.spec.labels).toEqual({});
    expect(read?.spec.env).toEqual(version.spec.env);
  });

  it('is refused where this one cannot know what it means', () => {
    const other = copy();
    Object.assign(other.spec ?? {}, { runtime: 'vm' });
    expect(readRecord(Version, other)).toBeNull();
    expect(readRecord(Version, { spec: 7 })).toBeNull();
    expect(readRecord(Version, null)).toBeNull();
  });

  it('is read so where it is an outcome', () => {
    const outcome = {
      ...{
        taskId: 'a.01J8ZQ5V7N3K4M6P8R9S0T1V2W',
        namespace: 'default',
        artifactId: 'a',
        version: 1,
        mode: 'sync',
        keyed: false,
      },
      ...{
        acceptedAtMs: 1,
        status: 'failed',
        attempt: 1,
        recoveries: 0,
        workerId: 'w',
        instanceId: null,
        startedAtMs: 1,
      },
      ...{ finishedAtMs: 2, startMs: 0, runMs: 1, queuedMs: 0, coldStart: false },
      error: { code: 'FUNCTION_FAILED', message: 'no', retryable: true },
    };
    expect(parseOutcome(JSON.stringify({ ...outcome, cost: 3 }))).toMatchObject(parseOutcome(JSON.stringify(outcome)));
  });
});
