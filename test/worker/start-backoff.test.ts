import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { describe, expect, it } from 'vitest';
import { pauseAfter, StartBackoff } from '../../apps/worker/src/pool/start-backoff.ts';

describe('a version that cannot start', () => {
  it('is tried after 1 s, 2 s, 4 s … and at last once a minute', () => {
    expect([1, 2, 3, 6, 7, 50].map(pauseAfter)).toEqual([1000, 2000, 4000, 32_000, 60_000, 60_000]);
  });

  it('answers with the error of its last start meanwhile, and begins anew after a start that worked', () => {
    const backoff = new StartBackoff();
    const error = new InstanceError('INSTANCE_START_FAILED');
    expect(backoff.standingError(0)).toBeNull();
    backoff.failed(error, 0);
    expect(backoff.standingError(999)).toBe(error);
    expect(backoff.standingError(1000)).toBeNull();
    backoff.failed(error, 1000);
    expect(backoff.standingError(2999)).toBe(error);
    backoff.succeeded();
    expect(backoff.standingError(2999)).toBeNull();
    backoff.failed(error, 5000);
    expect(backoff.standingError(6000)).toBeNull();
  });
});
