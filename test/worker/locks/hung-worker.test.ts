import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'vitest';
import { HUNG_MS } from '../../../apps/worker/src/locks/watchdog.ts';
import { startPilum, type TestPilum, type TestProcess } from '../../support/pilum.ts';
import { waitFor } from '../../support/wait-for.ts';

const RUN_MS = 5000;

const WAIT = 'export default (e) => new Promise((r) => setTimeout(() => r("waited"), e.ms))';

/** A Pilum of its own with a worker whose loop can be blocked, a task that this worker runs, and another worker. */
async function withTask(
  runMs: number,
  test: (pilum: TestPilum, worker: TestProcess, taskId: string) => Promise<void>,
): Promise<void> {
  const pilum = await startPilum({ workers: 0 });
  try {
    const worker = await pilum.addWorker({ NODE_OPTIONS: '--inspect-port=0' });
    const other = await pilum.addWorker();
    await pilum.deploy('wait', { code: { inline: WAIT } });
    // So that it is the first one that takes the task.
    other.signal('SIGSTOP');
    const taskId = await accept(pilum, runMs);
    other.signal('SIGCONT');
    await test(pilum, worker, taskId);
  } finally {
    for (const worker of pilum.workers) worker.signal('SIGCONT');
    await pilum.close();
  }
}

async function accept(pilum: TestPilum, ms: number): Promise<string> {
  const { taskId } = (await pilum.invoke('wait', { ms }, '?mode=async')).body;
  await waitFor(async () => (await read(pilum, taskId)).status === 'running', { what: `${taskId} to run` });
  return taskId;
}

const read = async (pilum: TestPilum, taskId: string) => (await pilum.call('GET', `/v1/tasks/${taskId}`)).json;
/** How often it was run again, by its log. */
const recoveries = async (pilum: TestPilum, taskId: string) =>
  ((await pilum.call('GET', `/v1/tasks/${taskId}/logs`)).text.match(/run again/g) ?? []).length;
const settled = (pilum: TestPilum, taskId: string) =>
  waitFor(
    async () => {
      const task = await read(pilum, taskId);
      return !['pending', 'running'].includes(task.status) && task;
    },
    { what: `the outcome of ${taskId}` },
  );

/** Keeps a process's event loop busy, as a function of ours that never returns would. */
async function block(worker: TestProcess, forMs: number): Promise<void> {
  worker.signal('SIGUSR1');
  const [, url = ''] = await waitFor(() => /Debugger listening on (ws:\S+)/.exec(worker.output()), {
    what: 'the inspector',
  });
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`no connection to ${url}`));
  });
  const expression = `{ const until = Date.now() + ${forMs}; while (Date.now() < until); }`;
  socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression } }));
  void worker.ended.then(() => socket.close());
  setTimeout(() => socket.close(), forMs).unref();
}

describe.concurrent('a worker', () => {
  it('whose event loop is busy for some seconds keeps its tasks', async ({ expect }) => {
    await withTask(11_000, async (pilum, worker, taskId) => {
      await sleep(2000); // the thread has heard of the task
      await block(worker, 5000);
      expect(await settled(pilum, taskId)).toMatchObject({
        status: 'completed',
        workerId: 'worker-1',
      });
      expect(await recoveries(pilum, taskId)).toBe(0);
      expect(worker.output()).not.toContain('locks');
    });
  });

  it('whose event loop hangs loses its tasks to another and is killed by its watchdog', async ({ expect }) => {
    await withTask(RUN_MS, async (pilum, worker, taskId) => {
      // Until it is killed.
      await block(worker, 600_000);
      const task = await settled(pilum, taskId);
      expect(task).toMatchObject({ status: 'completed', workerId: 'worker-2' });
      expect(await recoveries(pilum, taskId)).toBe(1);
      expect(await worker.ended).toBe('SIGKILL');
      expect(worker.output()).toContain('killed by its watchdog');
    });
  });

  it('that is stopped for a while goes on afterwards, and is not killed', async ({ expect }) => {
    await withTask(RUN_MS, async (pilum, worker, taskId) => {
      worker.signal('SIGSTOP');
      await sleep(8000);
      worker.signal('SIGCONT');
      expect(await settled(pilum, taskId)).toMatchObject({ status: 'completed' });
      await sleep(2000);
      pilum.workers[1]?.signal('SIGSTOP');
      const after = await pilum.invoke('wait', { ms: 1 });
      expect(after.body).toMatchObject({ status: 'completed', workerId: 'worker-1' });
    });
  });

  it('that is stopped for long loses its tasks to another, and its late attempt changes nothing', async ({
    expect,
  }) => {
    await withTask(RUN_MS, async (pilum, worker, taskId) => {
      worker.signal('SIGSTOP');
      const since = performance.now();
      const task = await settled(pilum, taskId);
      expect(task).toMatchObject({ status: 'completed', workerId: 'worker-2' });
      expect(await recoveries(pilum, taskId)).toBe(1);
      await sleep(Math.max(0, since + HUNG_MS + 2000 - performance.now()));
      worker.signal('SIGCONT');
      await sleep(3000);
      expect(await read(pilum, taskId)).toEqual(task);
      expect(worker.output()).not.toContain('watchdog');
      const workers = (await pilum.call('GET', '/v1/workers')).json.workers as { workerId: string }[];
      expect(workers.map(({ workerId }) => workerId).sort()).toEqual(['worker-1', 'worker-2']);
    });
  });
});
