import { beforeAll, describe, expect, test } from 'vitest';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench } from '../../../conformance/runtime-under-test.ts';
import { IMAGES, whyNoEngine } from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';
import { canHaveEngine, PrivateEngine } from '../../../support/private-engine.ts';
import { waitFor } from '../../../support/wait-for.ts';

const why = await whyNoEngine();

describe.skipIf(why !== null || !canHaveEngine)('an Engine that dies', () => {
  const engine = new PrivateEngine();
  let bench: Bench;
  const kept = keep();
  beforeAll(async () => {
    await kept.add(engine).start();
    await engine.load(IMAGES.debian);
    await engine.load(IMAGES.node);
    bench = kept.add(await Bench.of(await dockerUnderTest({ host: engine.host })), (b) => b.open.close());
  });

  test('takes its containers with it when it is started again: their tasks are lost, and new ones run', async () => {
    const handler = await bench.start({ entry: 'counter.mjs' });
    const command = await bench.start({ command: ['/bin/sh', '-c', 'echo up >&2; exec sleep 1000'] });
    const task = command.call({}).catch((error) => error);
    await waitFor(() => command.log.length > 0);

    await engine.kill();
    expect((await handler.call({})).value).toBe(1);
    expect((await bench.open.runtime.check()).available).toBe(false);
    await expect(bench.start({ entry: 'echo.mjs' })).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });

    await engine.start();
    expect(await task).toMatchObject({ code: 'INSTANCE_LOST' });
    await handler.instance.ended;
    expect((await bench.open.runtime.check()).available).toBe(true);
    expect((await bench.once({ entry: 'echo.mjs' }, { a: 1 })).value).toEqual({ a: 1 });
    expect((await bench.once({ command: ['echo', 'again'] })).value).toBe('again\n');
  });

  test('holds nobody up for ever where it hangs', async () => {
    const instance = await bench.start({ entry: 'never-returns.mjs' });
    const call = instance.call({ way: 'ignoresTerm' }).catch((error) => error);
    await waitFor(() => instance.log.length > 0);
    process.kill(engine.pid, 'SIGSTOP');
    try {
      expect((await bench.open.runtime.check()).available).toBe(false);
      const start = bench.start({ entry: 'echo.mjs' }, AbortSignal.timeout(1000));
      await expect(start).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
      await instance.stop(100);
      expect(await call).toMatchObject({ code: 'INSTANCE_LOST' });
    } finally {
      process.kill(engine.pid, 'SIGCONT');
    }
    expect((await bench.open.runtime.check()).available).toBe(true);
    await bench.open.runtime.removeOrphans();
    expect(await bench.once({ entry: 'echo.mjs' }, { a: 1 })).toMatchObject({ value: { a: 1 } });
  });
});
