import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench } from '../../../conformance/runtime-under-test.ts';
import { EngineProxy, whyNoEngine } from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';
import { makeTemporaryDirectory } from '../../../support/temporary-directory.ts';
import { waitFor } from '../../../support/wait-for.ts';

const why = await whyNoEngine();

describe.skipIf(why !== null)('while the Engine is away', () => {
  let bench: Bench;
  let proxy: EngineProxy;
  const kept = keep();
  beforeAll(async () => {
    proxy = kept.add(new EngineProxy(join(makeTemporaryDirectory(), 'engine.sock')));
    await proxy.open();
    bench = kept.add(await Bench.of(await dockerUnderTest({ host: proxy.host })), (b) => b.open.close());
  });
  afterEach(async () => {
    await proxy.close();
    await proxy.open();
    await bench.clear();
  });

  const status = () => bench.open.runtime.check();

  test('the runtime says so, starts are refused at once, and both are over when it is back', async () => {
    expect((await status()).available).toBe(true);
    await proxy.close();
    const away = await status();
    expect(away.available).toBe(false);
    expect(away.notes[0]).toMatch(/^RUNTIME_UNAVAILABLE: The Docker Engine does not answer at unix:/);
    await expect(bench.start({ entry: 'echo.mjs' })).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    await expect(bench.once({ command: ['cat'] })).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    await bench.open.runtime.removeOrphans();
    await proxy.open();
    expect((await status()).available).toBe(true);
    expect((await bench.once({ entry: 'echo.mjs' }, { a: 1 })).value).toEqual({ a: 1 });
  });

  test('a warm function goes on, and its end is seen when the Engine is back', async () => {
    const instance = await bench.start({ entry: 'echo.mjs' });
    await proxy.close();
    expect((await instance.call({ a: 1 })).value).toEqual({ a: 1 });
    expect(await instance.instance.check(2000)).toBe(true);
    const stopped = instance.stop(100);
    await proxy.open();
    await stopped;
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
    expect(await bench.open.leftovers(instance.instance.instanceId)).toEqual([]);
  });

  test('an instance that cannot be ended is given up, and removed when the Engine is back', async () => {
    const instance = await bench.start({ entry: 'never-returns.mjs' });
    const call = instance.call({ way: 'ignoresTerm' }).catch((error) => error);
    await waitFor(() => instance.log.length > 0);
    await proxy.close();
    const since = performance.now();
    await instance.stop(100);
    expect(performance.now() - since).toBeLessThan(60_000);
    expect(await call).toMatchObject({ code: 'INSTANCE_LOST' });
    await proxy.open();
    await status();
    await bench.open.runtime.removeOrphans();
    expect(await bench.open.leftovers(instance.instance.instanceId)).toEqual([]);
  });
});
