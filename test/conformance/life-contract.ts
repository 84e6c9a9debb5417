import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { waitFor } from '../support/wait-for.ts';
import { processesWith, uniqueMarker } from './processes.ts';
import type { Bench, RuntimeUnderTest } from './runtime-under-test.ts';

/** How instances end: when asked, when they must, and with everything that they started. */
export function lifeContract(bench: () => Bench, subject: RuntimeUnderTest): void {
  test.for([
    ['waits for ever', { entry: 'never-returns.mjs' }, 'waits', 'SIGTERM'],
    ['spins', { entry: 'never-returns.mjs' }, 'spins', 'SIGKILL'],
    ['ignores SIGTERM', { entry: 'never-returns.mjs' }, 'ignoresTerm', 'SIGKILL'],
  ] as const)('a function that %s is stopped', async ([, deployment, way, signal]) => {
    const instance = await bench().start(deployment);
    const call = expect(instance.call({ way })).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
    await waitFor(() => instance.log.length > 0);
    await instance.stop(300);
    await call;
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped', signal });
  });

  test('a Python function that is stopped runs its finally blocks', async () => {
    const instance = await bench().start({ language: 'python', entry: 'main.py#never_returns' });
    const call = expect(instance.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
    await waitFor(() => instance.log.length > 0);
    await instance.stop();
    await call;
    expect(instance.log.map(({ text }) => text)).toEqual(['running', 'cleaned up']);
  });

  test('a function that heeds context.signal has the grace to finish', async () => {
    const instance = await bench().start({ entry: 'heeds-signal.mjs' });
    const call = instance.call({}).catch((error) => error);
    await waitFor(() => instance.log.length > 0);
    await instance.stop();
    expect(await call).toMatchObject({ ok: true, value: 'stopped' });
    expect(instance.log.at(-1)?.text).toBe('told to stop: AbortError: The task was stopped.');
  });

  test.for([
    ['Node', { entry: 'echo.mjs' }],
    ['Python', { language: 'python', entry: 'main.py#counter' }],
  ] as const)('an instance of %s says that it is well, before, during and after a call', async ([, deployment]) => {
    const started = await bench().start(deployment);
    const { instance } = started;
    expect(await Promise.all([instance.check(5000), instance.check(5000)])).toEqual([true, true]);
    const call = started.call({});
    expect(await instance.check(5000)).toBe(true);
    await call;
    expect(await instance.check(5000)).toBe(true);
    await started.stop(0);
    expect(await instance.check(5000)).toBe(false);
  });

  test('an instance that is held up by what a call has left behind is found sick', async () => {
    const instance = await bench().start({ entry: 'spins-afterwards.mjs' });
    await instance.call({});
    await waitFor(async () => !(await instance.instance.check(200)), { what: 'it to be found sick' });
    await instance.stop(0);
  });

  test('a second stop with less grace hastens the first', async () => {
    const instance = await bench().start({ entry: 'never-returns.mjs' });
    const call = instance.call({ way: 'ignoresTerm' }).catch((error) => error);
    await waitFor(() => instance.log.length > 0);
    const since = performance.now();
    const first = instance.stop(60_000);
    await instance.stop(0);
    await first;
    expect(performance.now() - since).toBeLessThan(5000);
    expect(await call).toMatchObject({ code: 'INSTANCE_LOST' });
  });

  // Of a runtime that does not declare it there is nothing to skip.
  if (subject.holdsDescendants) {
    test('what a function leaves running goes with its instance, also when it ignores signals and has left its session', async () => {
      const marker = uniqueMarker();
      const instance = await bench().start({ entry: 'leaves-daemon.mjs' });
      expect((await instance.call({ marker })).value).toBe('left');
      await waitFor(() => processesWith(marker).length > 0, { what: 'the daemon' });
      await instance.stop(500);
      expect(processesWith(marker)).toEqual([]);
      expect(await bench().open.leftovers(instance.instance.instanceId)).toEqual([]);
    });
  }

  test('a start can be aborted, and nothing is left of it', async () => {
    const abort = new AbortController();
    const instanceId = randomUUID();
    const runnable = bench().runnable({ entry: 'never-loads.mjs' });
    const start = bench().open.runtime.start(runnable, { instanceId, signal: abort.signal });
    const failed = expect(start).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
    setTimeout(() => abort.abort(new Error('enough')), 200);
    await failed;
    await expect.poll(() => bench().open.leftovers(instanceId), { timeout: 60_000 }).toEqual([]);
    await expect(
      bench().open.runtime.start(runnable, { instanceId, signal: AbortSignal.abort(new Error('before')) }),
    ).rejects.toThrow();
  });

  test('an idle instance that dies says so', async () => {
    // Whatever kills it later on is its own, and has to go on after the call.
    const instance = await bench().start({ entry: 'shell.mjs', pool: { background: true } });
    await instance.call({ script: '(sleep 0.2; kill -9 $0) >/dev/null 2>&1 &'.replace('$0', '$PPID') });
    expect(await instance.instance.ended).toMatchObject({ reason: 'exited', signal: 'SIGKILL' });
    await expect(instance.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
  });

  if (subject.limitsMemory !== false) {
    test.for(['heap', 'buffers'])('a function that takes all memory (%s) is OUT_OF_MEMORY', async (way) => {
      const instance = await bench().start({ entry: 'takes-memory.mjs', limits: { memoryMiB: 128 } });
      await expect(instance.call({ way })).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
      expect((await instance.instance.ended).reason).toBe('out-of-memory');
    });

    test('a Python function that takes 4 GB is OUT_OF_MEMORY', async () => {
      const instance = await bench().start({ language: 'python', entry: 'main.py#takes_memory' });
      await expect(instance.call({})).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
    });

    test.for(['console', 'empty', 'raw'])(
      'a function that prints without end (%s) costs bounded memory and little CPU',
      async (way) => {
        const instance = await bench().start({ entry: 'prints-forever.mjs' });
        const other = await bench().start({ entry: 'echo.mjs' });
        const call = instance.call({ way }).catch((error) => error);
        await waitFor(() => instance.log.length > 100);
        const before = { rss: process.memoryUsage.rss(), cpu: process.cpuUsage(), at: performance.now() };
        while (performance.now() - before.at < 2000) {
          expect((await other.call({ a: 1 })).value).toEqual({ a: 1 });
          await sleep(50);
        }
        const busy = process.cpuUsage(before.cpu);
        const share = (busy.user + busy.system) / 1000 / (performance.now() - before.at);
        const grownMiB = (process.memoryUsage.rss() - before.rss) / 1024 / 1024;
        expect(grownMiB).toBeLessThan(64);
        expect(share).toBeLessThan(0.3);
        await instance.stop(0);
        expect(await call).toMatchObject({ code: 'INSTANCE_LOST' });
      },
    );
  }

  test('a closed runtime has ended its instances and starts no more', async () => {
    // Of its own, since the others go on with theirs.
    const closing = await bench().another();
    const instance = await closing.start({ entry: 'echo.mjs' });
    await closing.open.close();
    await closing.open.runtime.close();
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
    await expect(closing.start({ entry: 'echo.mjs' })).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });
}
