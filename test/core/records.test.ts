import { Version } from '@pilum/core/schemas/artifact.ts';
import { matches, readRecord } from '@pilum/core/schemas/check.ts';
import { parseOutcome } from '@pilum/core/store/task-store.ts';
import { describe, expect, it } from 'vitest';
import { fill } from '../conformance/snapshots.ts';

const version = fill({
  runtime: 'process',
  env: { LEVEL: 'debug', OTHER: '1' },
  labels: { team: 'search' },
  dependsOn: ['fonts@2'],
  limits: { memoryMiB: 128 },
});
const copy = () => structuredClone(version) as unknown as Record<string, Record<string, Record<string, unknown>>>;

describe('a record of another release', () => {
  it('is read without the fields that this one does not know, wherever they stand', () => {
    const newer = copy();
    Object.assign(newer, { region: 'north' });
    Object.assign(newer.spec ?? {}, { durable: { maxMs: 1000 } });
    Object.assign(newer.spec?.limits ?? {}, { diskReadMiBps: 100 });
    Object.assign(newer.spec?.retry?.backoff ?? {}, { most: 5 });
    expect(matches(Version, newer)).toBe(false);
    expect(readRecord(Version, newer)).toEqual(version);
    // What was handed in stays as it was.
    expect(newer).toHaveProperty('spec.durable');
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
    expect(parseOutcome(JSON.stringify({ ...outcome, cost: 3 }))).toEqual(parseOutcome(JSON.stringify(outcome)));
  });
});
