import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Pacing } from '../../../apps/worker/src/output/pacing.ts';

const MEBIBYTE = 1_048_576;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const start = (detach = false) => new Pacing({ readerId: 'first', detach });

describe('a streamed task', () => {
  it('runs ahead of its reader by a bounded number of bytes, and goes on when that reader has taken some', async () => {
    const pacing = start();
    pacing.produced(MEBIBYTE);
    expect(pacing.whenFree()).toBeNull();
    pacing.produced(MEBIBYTE + 1);
    const free = pacing.whenFree();
    expect(free).not.toBeNull();
    pacing.taken({ readerId: 'other', bytes: MEBIBYTE });
    expect(pacing.whenFree(), 'another reader counts for nothing').not.toBeNull();
    pacing.taken({ readerId: 'first', bytes: 2 });
    await free;
    expect(pacing.whenFree()).toBeNull();
  });

  it('goes on without its reader where others read, or where it was to', () => {
    const pacing = start();
    pacing.produced(2 * MEBIBYTE);
    pacing.taken({ readerId: 'first', bytes: 1, gone: true });
    expect(pacing.whenFree()).toBeNull();
    pacing.readers(0);
    expect(pacing.whenFree(), 'nobody reads it').not.toBeNull();
    const detached = start(true);
    detached.produced(2 * MEBIBYTE);
    expect(detached.whenFree()).not.toBeNull();
    detached.readers(0);
    detached.taken({ readerId: 'first', bytes: 1, gone: true });
    expect(detached.whenFree()).toBeNull();
  });

  it('is held back by the first that comes back after its reader was lost', async () => {
    const pacing = start();
    pacing.produced(3 * MEBIBYTE);
    pacing.taken({ readerId: 'first', bytes: 100, gone: true });
    pacing.readers(0);
    const free = pacing.whenFree();
    pacing.taken({ readerId: 'again', bytes: 100 });
    pacing.readers(1);
    expect(pacing.whenFree()).not.toBeNull();
    pacing.taken({ readerId: 'third', bytes: 3 * MEBIBYTE });
    expect(pacing.whenFree()).not.toBeNull();
    pacing.taken({ readerId: 'again', bytes: 3 * MEBIBYTE });
    await free;
  });

  it('is not held back by one that is silent', async () => {
    const pacing = start();
    pacing.produced(2 * MEBIBYTE);
    const free = pacing.whenFree();
    vi.advanceTimersByTime(5000);
    pacing.taken({ readerId: 'first', bytes: 10 });
    vi.advanceTimersByTime(5000);
    pacing.tick();
    expect(pacing.whenFree(), 'it has said that it is there').not.toBeNull();
    vi.advanceTimersByTime(6001);
    pacing.tick();
    await free;
  });
});
