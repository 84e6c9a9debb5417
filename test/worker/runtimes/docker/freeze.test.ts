import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { removeContainer } from '../../../../apps/worker/src/runtimes/docker/container.ts';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench, type TestInstance } from '../../../conformance/runtime-under-test.ts';
import { engine, whyNoEngine } from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';
import { waitFor } from '../../../support/wait-for.ts';

const why = await whyNoEngine();
/** The worker reaches cgroups of version 2 here, as it mostly does. */
const isReachable = /^\d+ \d+ \S+ \/ \S+ rw.* - cgroup2 /m.test(readFileSync('/proc/self/mountinfo', 'utf8'));

describe.skipIf(why !== null || !isReachable)('an idle container that the worker itself freezes', () => {
  let bench: Bench;
  const kept = keep();
  beforeAll(async () => {
    const subject = await dockerUnderTest({ pauseAfterMs: 0, freezeAfterMs: 50 });
    bench = kept.add(await Bench.of(subject), (b) => b.open.close());
  });
  afterEach(() => bench.clear());

  const containerOf = async ({ instance }: TestInstance) => {
    const filters = { label: [`pilum.instance=${instance.instanceId}`] };
    const [found] = await engine.listContainers({ all: true, filters });
    return engine.getContainer(found?.Id ?? '');
  };
  /** Processor time so far, ns. */
  const usedBy = async (instance: TestInstance) => {
    const stats = await (await containerOf(instance)).stats({ stream: false, 'one-shot': true });
    return stats.cpu_stats.cpu_usage.total_usage;
  };
  const standsStill = (instance: TestInstance) =>
    waitFor(
      async () => {
        const before = await usedBy(instance);
        await sleep(300);
        return (await usedBy(instance)) === before;
      },
      { what: 'a container that stands still' },
    );

  test('uses no processor, is not paused as the Engine knows it, and goes on at its next call', async () => {
    const instance = await bench.start({ entry: 'counter.mjs' });
    for (const expected of [1, 2, 3]) {
      expect((await instance.call({})).value).toBe(expected);
      await standsStill(instance);
      expect((await (await containerOf(instance)).inspect()).State).toMatchObject({ Running: true, Paused: false });
      expect(await instance.instance.check(5000)).toBe(true);
    }
    expect((await bench.open.runtime.check()).walls).toMatchObject({ freezer: null });
  });

  test('stands still when a call has left it spinning, and is not well', async () => {
    const instance = await bench.start({ entry: 'spins-afterwards.mjs' });
    await instance.call({});
    await standsStill(instance);
    expect(await instance.instance.check(200)).toBe(false);
    await standsStill(instance);
  });

  test('ends when it is stopped, and is told to before', async () => {
    const instance = await bench.start({ entry: 'echo.mjs' });
    await standsStill(instance);
    await instance.stop(10_000);
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped', signal: 'SIGTERM' });
  });

  test('can be removed by a worker that knows nothing of it', async () => {
    const instance = await bench.start({ entry: 'echo.mjs' });
    await standsStill(instance);
    const { id } = await containerOf(instance);
    await removeContainer(engine, id);
    await instance.instance.ended;
    await expect(engine.getContainer(id).inspect()).rejects.toMatchObject({ statusCode: 404 });
  });
});
