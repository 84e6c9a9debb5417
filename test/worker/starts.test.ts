import { type ErrorData, errorFromData, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isStartedAgain } from '../../apps/worker/src/pool/start-again.ts';
import type { Runtime } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { ticketOfNextStart } from '../../apps/worker/src/tasks/retry.ts';
import { ticketFor } from '../support/tasks.ts';
import { Workshop } from './support/workshop.ts';

const startFailed = (details: Record<string, unknown>): ErrorData => ({
  code: 'INSTANCE_START_FAILED',
  message: 'it did not start',
  details,
});

describe('a start that failed', () => {
  it.each([
    ['the machine could not make it', { code: 'RUNTIME_UNAVAILABLE', message: 'no' }, [true, true, true]],
    ['there was no sandbox', { code: 'SANDBOX_UNAVAILABLE', message: 'no' }, [true, true, true]],
    ['it was not ready in time', startFailed({ exitCode: null, afterMs: 10_000 }), [true, true, false]],
    ['it was up, and not ready in time', startFailed({ output: 'hello', afterMs: 10_000 }), [true, false, false]],
    ['something killed it', startFailed({ exitCode: null, signal: 'SIGKILL' }), [true, true, false]],
    ['its code threw', startFailed({ type: 'SyntaxError', exitCode: 1, signal: null }), [false, false, false]],
    ['its code threw too late', startFailed({ type: 'Error', afterMs: 10_000 }), [false, false, false]],
    ['it ended by itself', startFailed({ exitCode: 3, signal: null }), [false, false, false]],
    ['its archive is broken', { code: 'INSTANCE_START_FAILED', message: 'no' }, [false, false, false]],
    ['its code is not the one', { code: 'CHECKSUM_MISMATCH', message: 'no' }, [false, false, false]],
  ])('where %s is tried again or not: %j', (_why, data, expected) => {
    expect([1, 3, 4].map((failures) => isStartedAgain(errorFromData(data as ErrorData), failures))).toEqual(expected);
  });

  it('puts its task off for no longer than the task may wait in all', () => {
    const ticket = ticketFor('late', { dueAtMs: 1000, queueMs: 500 });
    const first = ticketOfNextStart(ticket, 0, 1200)!;
    expect(first).toMatchObject({
      attempt: 1,
      dueAtMs: 1200,
      queueMs: 300,
      starts: { failures: 1, sinceMs: 1000, queueMs: 500 },
    });
    const second = ticketOfNextStart(first, 2, 1400)!;
    expect(second).toMatchObject({ dueAtMs: 1400, queueMs: 100, stalls: 2, starts: { failures: 2, sinceMs: 1000 } });
    expect(ticketOfNextStart(second, 0, 1500)).toBeNull();
  });
});

describe('a task whose function was not begun', () => {
  let shop: Workshop;
  let failuresLeft = 0;
  /** A machine that cannot make instances for a while. */
  const failSome = (runtimes: Runtime[]) => {
    for (const runtime of runtimes) {
      const start = runtime.start.bind(runtime);
      runtime.start = async (...args) => {
        if (failuresLeft-- > 0) throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'too busy' });
        return await start(...args);
      };
    }
  };
  beforeAll(async () => {
    shop = await Workshop.open();
    await shop.startWorker('worker-1', { PILUM_PREWARM: '0' }, failSome);
  });
  afterAll(async () => await shop?.close());

  it('waits for another start, and so do those that come in the pause after one', async () => {
    await shop.deploy('patient', 'await new Promise((r) => setTimeout(r, 60)); export default () => 1', {
      pool: { max: 1 },
    });
    failuresLeft = 1;
    const tickets = await Promise.all([1, 2, 3].map(() => shop.run('patient', {})));
    for (const ticket of tickets) {
      const outcome = await shop.settled(ticket);
      expect(outcome).toMatchObject({ status: 'completed', attempt: 1, recoveries: 0 });
      // What it waited for the next start is wait, too.
      expect(outcome.queuedMs).toBeGreaterThan(500);
    }
    const cold = (await Promise.all(tickets.map((ticket) => shop.settled(ticket)))).find((one) => one.coldStart);
    expect(cold?.loadMs).toBeGreaterThanOrEqual(55);
  });

  it('ends with the failure of the start where it may not wait for another', async () => {
    await shop.deploy('hasty', 'export default () => 1');
    failuresLeft = 1;
    const outcome = await shop.settled(await shop.run('hasty', {}, { queueMs: 400 }));
    expect(outcome).toMatchObject({ status: 'failed', error: { code: 'RUNTIME_UNAVAILABLE' } });
  });

  it('has the time of a start that failed in its outcome', async () => {
    await shop.deploy('slow', 'await new Promise((r) => setTimeout(r, 80)); throw new Error("no")');
    const outcome = await shop.settled(await shop.run('slow', {}));
    expect(outcome).toMatchObject({ status: 'failed', error: { code: 'INSTANCE_START_FAILED' }, runMs: 0 });
    expect(outcome.startMs).toBeGreaterThanOrEqual(80);
  });

  it('has all of its time in its outcome', async () => {
    await shop.deploy(
      'accounted',
      'await new Promise((r) => setTimeout(r, 80)); export default () => new Promise((r) => setTimeout(r, 50))',
    );
    const {
      queuedMs,
      fetchMs = 0,
      unpackMs = 0,
      startMs,
      loadMs = 0,
      runMs,
      finishedAtMs,
      acceptedAtMs,
    } = await shop.settled(await shop.run('accounted', {}));
    expect(loadMs).toBeGreaterThanOrEqual(80);
    expect(runMs).toBeGreaterThanOrEqual(49);
    const sum = queuedMs + fetchMs + unpackMs + startMs + loadMs + runMs;
    // Two clocks, one of whole milliseconds.
    expect(Math.abs(sum - (finishedAtMs - acceptedAtMs))).toBeLessThan(5);
  });
});
