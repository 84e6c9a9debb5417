import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench, type TestInstance } from '../../../conformance/runtime-under-test.ts';
import { engine, whyNoEngine } from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';
import { waitFor } from '../../../support/wait-for.ts';

const why = await whyNoEngine();
const PAUSE_AFTER_MS = 200;

describe.skipIf(why !== null)('an idle container that is paused', () => {
  let bench: Bench;
  const kept = keep();
  beforeAll(async () => {
    bench = kept.add(await Bench.of(await dockerUnderTest({ pauseAfterMs: PAUSE_AFTER_MS, freezeAfterMs: 0 })), (b) =>
      b.open.close(),
    );
  });
  afterEach(() => bench.clear());

  const stateOf = async ({ instance }: TestInstance) => {
    const [found] = await engine.listContainers({
      all: true,
      filters: { label: [`pilum.instance=${instance.instanceId}`] },
    });
    return found?.State;
  };
  /** Processor time so far, ns. */
  const usedBy = async ({ instance }: TestInstance) => {
    const [found] = await engine.listContainers({ filters: { label: [`pilum.instance=${instance.instanceId}`] } });
    const stats = await engine.getContainer(found?.Id ?? '').stats({ stream: false, 'one-shot': true });
    return stats.cpu_stats.cpu_usage.total_usage;
  };
  const paused = (instance: TestInstance) =>
    waitFor(async () => (await stateOf(instance)) === 'paused', { what: 'the pause' });

  test('uses no processor, says that it is well, and answers the next call', async () => {
    const instance = await bench.start({ entry: 'spins-afterwards.mjs' });
    await instance.call({});
    await paused(instance);
    expect(await instance.instance.check(100)).toBe(true);
    const before = await usedBy(instance);
    // Long enough for one that runs to use some: this one spins.
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await usedBy(instance)).toBe(before);
    const counting = await bench.start({ entry: 'counter.mjs' });
    for (const expected of [1, 2, 3]) {
      expect((await counting.call({})).value).toBe(expected);
      await paused(counting);
    }
  });

  test('wakes in milliseconds', async () => {
    const instance = await bench.start({ entry: 'echo.mjs' });
    const times: number[] = [];
    for (let turn = 0; turn < 5; turn++) {
      await paused(instance);
      const since = performance.now();
      await instance.call({});
      times.push(performance.now() - since);
    }
    // Beside other tests and programs; alone it is about ten.
    expect(Math.min(...times)).toBeLessThan(1000);
  });

  test('ends when it is stopped, and is told to before', async () => {
    const instance = await bench.start({ entry: 'echo.mjs' });
    await paused(instance);
    await instance.stop(5000);
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped', signal: 'SIGTERM' });
  });

  test('is not paused while a call runs', async () => {
    const instance = await bench.start({ entry: 'never-returns.mjs' });
    const call = instance.call({ way: 'waits' }).catch((error) => error);
    await waitFor(() => instance.log.length > 0);
    const until = performance.now() + 3 * PAUSE_AFTER_MS;
    while (performance.now() < until) expect(await stateOf(instance)).toBe('running');
    await instance.stop(100);
    expect(await call).toMatchObject({ code: 'INSTANCE_LOST' });
  });
});
