import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum());
});

const backoff = { type: 'fixed', delayMs: 100, jitter: 0 };

async function settled(taskId: string) {
  return await waitFor(
    async () => {
      const { json } = await pilum.call('GET', `/v1/tasks/${taskId}?wait=5s`);
      return ['pending', 'running'].includes(json.status) ? null : json;
    },
    { what: `the outcome of ${taskId}` },
  );
}

describe('a function that fails', () => {
  it('is tried again until it does not, and each attempt is kept with its error, worker, times and log', async () => {
    await pilum.deploy('second-time', {
      code: {
        inline: `export default (event, context) => {
          console.log('attempt', context.attempt);
          if (context.attempt < event.good) throw new RangeError('not yet');
          return context.attempt;
        }`,
      },
      retry: { attempts: 3, backoff },
    });
    const { status, body } = await pilum.invoke('second-time', { good: 3 });
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'completed', result: 3, attempt: 3, recoveries: 0 });
    expect(body.attempts?.map(({ attempt, error }) => [attempt, error?.code])).toEqual([
      [1, 'FUNCTION_FAILED'],
      [2, 'FUNCTION_FAILED'],
      [3, undefined],
    ]);
    expect(body.attempts?.[0]).toMatchObject({
      workerId: 'worker-1',
      error: { message: expect.stringContaining('not yet') },
    });
    const starts = body.attempts?.map(({ startedAt }) => Date.parse(startedAt)) ?? [];
    expect(starts[1]! - starts[0]!).toBeGreaterThanOrEqual(100);
    const log = (await pilum.call('GET', `/v1/tasks/${body.taskId}/logs`)).text;
    expect(log.match(/attempt \d$/gm)).toEqual(['attempt 1', 'attempt 2', 'attempt 3']);
    expect(log).toContain('[pilum] attempt 1 of 3 failed, the next follows in 100 ms: FUNCTION_FAILED');
  });

  it('has used all its attempts, is listed so, and can be retried by hand', async () => {
    const { status, body } = await pilum.invoke('second-time', { good: 9 }, '?attempts=2');
    expect(status).toBe(502);
    expect(body).toMatchObject({ status: 'failed', attempt: 2, exhausted: true, error: { code: 'FUNCTION_FAILED' } });
    const { json } = await pilum.call('GET', '/v1/tasks?artifact=second-time&exhausted=true');
    expect(json.tasks.map((task: { taskId: string }) => task.taskId)).toEqual([body.taskId]);
    const retry = await pilum.call('POST', `/v1/tasks/${body.taskId}/retry`);
    expect(retry.status).toBe(202);
    expect(await settled(retry.json.taskId)).toMatchObject({ status: 'failed', attempt: 2, retryOf: body.taskId });
  });

  it('is shown between two attempts, and can be cancelled there', async () => {
    const { body } = await pilum.invoke('second-time', { good: 9 }, '?mode=async&attempts=1');
    await settled(body.taskId);
    await pilum.deploy('slow-retry', {
      code: { inline: 'export default () => { throw new Error("no"); }' },
      retry: { attempts: 2, backoff: { type: 'fixed', delayMs: 60_000, jitter: 0 } },
    });
    const { taskId } = (await pilum.invoke('slow-retry', {}, '?mode=async')).body;
    const between = await waitFor(
      async () => {
        const { json } = await pilum.call('GET', `/v1/tasks/${taskId}`);
        return json.attempts.length === 1 && json.status === 'pending' ? json : null;
      },
      { what: 'the first attempt' },
    );
    expect(Date.parse(between.dueAt)).toBeGreaterThan(Date.now() + 50_000);
    const cancelled = await pilum.call('DELETE', `/v1/tasks/${taskId}`);
    expect(cancelled.json).toMatchObject({ status: 'cancelled', attempt: 1 });
    expect(cancelled.json.attempts).toHaveLength(1);
  });

  it('is not tried again where that cannot help', async () => {
    await pilum.deploy('greedy', {
      code: { inline: 'export default () => { const all = []; for (;;) all.push(Buffer.alloc(1e6, 1)); }' },
      limits: { memoryMiB: 64 },
      retry: { attempts: 5, backoff },
    });
    const { body } = await pilum.invoke('greedy', {});
    expect(body).toMatchObject({ status: 'failed', attempt: 1, error: { code: 'OUT_OF_MEMORY' } });
    expect(body.exhausted).toBeUndefined();
  });

  it('is tried again after its run time-out and after a start that failed', async () => {
    await pilum.deploy('sleeper', {
      code: { inline: 'export default (e, context) => context.attempt === 1 ? new Promise(() => {}) : "awake"' },
      timeouts: { runMs: 300 },
      retry: { attempts: 2, backoff },
    });
    expect((await pilum.invoke('sleeper', {})).body).toMatchObject({
      result: 'awake',
      attempts: [{ error: { code: 'TASK_TIMEOUT' } }, { attempt: 2 }],
    });
    await pilum.deploy('broken', {
      code: { inline: 'throw new Error("cannot be loaded")' },
      retry: { attempts: 2, backoff },
    });
    expect((await pilum.invoke('broken', {})).body).toMatchObject({
      attempt: 2,
      exhausted: true,
      error: { code: 'INSTANCE_START_FAILED' },
    });
  });
});

describe('a delayed task', () => {
  it('is begun when it is due and not before', async () => {
    await pilum.deploy('clock', { code: { inline: 'export default () => Date.now()' } });
    const before = Date.now();
    const { body } = await pilum.invoke('clock', {}, '?delay=700ms');
    expect(Number(body.result) - before).toBeGreaterThanOrEqual(700);
    expect(Number(body.result) - before).toBeLessThan(20_000);
    expect(body.timing.queuedMs).toBeLessThan(20_000);
  });

  it('and a retry are picked up by a worker that was not there when they fell due', async () => {
    await pilum.deploy('orphan', {
      code: {
        inline: 'export default (e, context) => { if (context.attempt === 1) throw new Error("no"); return "ok"; }',
      },
      retry: { attempts: 2, backoff: { type: 'fixed', delayMs: 1500, jitter: 0 } },
    });
    const retried = (await pilum.invoke('orphan', {}, '?mode=async')).body.taskId;
    const delayed = (await pilum.invoke('clock', {}, '?mode=async&delay=1500ms')).body.taskId;
    await waitFor(async () => (await pilum.call('GET', `/v1/tasks/${retried}`)).json.attempts.length === 1, {
      what: 'the first attempt',
    });
    pilum.workers[0]?.signal('SIGKILL');
    await pilum.workers[0]?.ended;
    await pilum.addWorker();
    expect(await settled(retried)).toMatchObject({ status: 'completed', result: 'ok', attempt: 2 });
    expect(await settled(delayed)).toMatchObject({ status: 'completed' });
  });
});
