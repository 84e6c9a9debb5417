import { expect, test } from 'vitest';
import { CallStopped } from '../../apps/worker/src/runtimes/contract/call-stopped.ts';
import { waitFor } from '../support/wait-for.ts';
import type { Bench, Deployment } from './runtime-under-test.ts';

const python = (name: string): Deployment => ({ language: 'python', entry: `main.py#${name}` });

/** What a function hears of its end, and how long it may take over it. */
export function signalContract(bench: () => Bench): void {
  test.for([
    ['a Node function', { entry: 'heeds-signal.mjs' }, 'TimeoutError', 'The task has reached its run timeout.'],
    ['a Node function', { entry: 'heeds-signal.mjs' }, 'TaskCancelled', 'The task was cancelled.'],
    ['a Node function', { entry: 'heeds-signal.mjs' }, 'WorkerStopping', 'The worker is stopping'],
    ['a module with fetch', { entry: 'heeds-request-signal.mjs' }, 'TimeoutError', 'The task has reached its run'],
    ['a module with fetch', { entry: 'heeds-request-signal.mjs' }, 'TaskCancelled', 'The task was cancelled.'],
    ['a Python function that waits', python('waits_for_signal'), 'TimeoutError', 'The task has reached its run'],
    ['a Python function that polls', python('polls_signal'), 'TaskCancelled', 'The task was cancelled.'],
    ['an async Python function', python('awaits_signal'), 'WorkerStopping', 'The worker is stopping'],
  ] as const)(
    '%s is told why it is stopped, and has the grace to finish: %o %s',
    async ([, deployment, name, message]) => {
      const instance = await bench().start(deployment);
      const abort = new AbortController();
      const call = instance.call({}, { signal: abort.signal }).catch((error) => error);
      await waitFor(() => instance.log.length > 0);
      // As the caller of `call` does it: at once.
      abort.abort(new CallStopped(name));
      await instance.stop(60_000);
      expect(await call).toMatchObject({ ok: true, value: 'stopped' });
      expect(instance.log.at(-1)?.text).toContain(`told to stop: ${name}: ${message}`);
      expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
    },
  );

  test('a reason that says nothing stands for the run timeout', async () => {
    const instance = await bench().start({ entry: 'heeds-signal.mjs' });
    const call = instance.call({}, { signal: AbortSignal.timeout(300) }).catch((error) => error);
    expect(await call).toMatchObject({ ok: true });
    expect(instance.log.at(-1)?.text).toContain('told to stop: TimeoutError: ');
  });

  test('a function that asks late finds its signal aborted', async () => {
    const instance = await bench().start({ entry: 'asks-late.mjs' });
    const abort = new AbortController();
    const call = instance.call({}, { signal: abort.signal });
    await waitFor(() => instance.log.length > 0);
    abort.abort(new CallStopped('TaskCancelled'));
    expect((await call).value).toBe('TaskCancelled');
  });

  test('a call that ended before its signal was aborted leaves the next one alone', async () => {
    const instance = await bench().start({ entry: 'heeds-signal.mjs' });
    const [first, second] = [new AbortController(), new AbortController()];
    const call = instance.call({}, { signal: first.signal });
    first.abort(new CallStopped('TaskCancelled'));
    await call;
    const next = instance.call({}, { signal: second.signal });
    await waitFor(() => instance.log.length > 0);
    second.abort(new CallStopped('TimeoutError'));
    expect((await next).log.at(-1)?.text).toContain('TimeoutError');
  });
}
