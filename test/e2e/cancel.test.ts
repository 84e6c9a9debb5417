import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ workers: 2, env: { PILUM_WORKER_CAPACITY: '1' } }));
  await pilum.deploy('wait', {
    code: { inline: 'export default (e) => new Promise((r) => setTimeout(() => r(1), e.ms))' },
  });
});

const cancel = (taskId: string) => pilum.call('DELETE', `/v1/tasks/${taskId}`);
const status = async (taskId: string) => (await pilum.call('GET', `/v1/tasks/${taskId}`)).json.status as string;
const accept = async (ms: number) => (await pilum.invoke('wait', { ms }, '?mode=async')).body.taskId;
const runs = (taskId: string) =>
  waitFor(async () => (await status(taskId)) === 'running', { what: `${taskId} to run` });

describe('cancelling', () => {
  it('a running task frees its slot at once, on whichever worker it runs', async () => {
    const long = [await accept(600_000), await accept(600_000)];
    for (const taskId of long) await runs(taskId);
    const next = await accept(1);
    for (const taskId of long) {
      expect((await cancel(taskId)).json).toMatchObject({ status: 'cancelled', error: { code: 'TASK_CANCELLED' } });
    }
    expect((await pilum.call('GET', `/v1/tasks/${next}?wait=10s`)).json.status).toBe('completed');
    for (const taskId of long) expect(await status(taskId)).toBe('cancelled');
  });

  it('a queued task keeps it from being begun, and is the same when done twice', async () => {
    const long = [await accept(600_000), await accept(600_000)];
    for (const taskId of long) await runs(taskId);
    const queued = await accept(600_000);
    expect(await status(queued)).toBe('pending');
    const answers = await Promise.all([cancel(queued), cancel(queued)]);
    expect(answers.map((answer) => answer.status)).toEqual([200, 200]);
    expect(answers[0]?.json).toEqual(answers[1]?.json);
    for (const taskId of long) await cancel(taskId);
    const { body } = await pilum.invoke('wait', { ms: 1 });
    expect(body.status).toBe('completed');
    expect(await status(queued)).toBe('cancelled');
  });

  it('a task tells the caller who waits for it', async () => {
    const calling = pilum.invoke('wait', { ms: 600_000 });
    const taskId = await waitFor(
      async () => (await pilum.call('GET', '/v1/tasks?artifact=wait&status=running')).json.tasks[0]?.taskId as string,
      { what: 'the task to be listed' },
    );
    await cancel(taskId);
    const { status: code, body } = await calling;
    expect(code).toBe(409);
    expect(body).toMatchObject({ status: 'cancelled', error: { code: 'TASK_CANCELLED' } });
  });

  it('a task that has ended is refused with how it ended, and one that never was with 404', async () => {
    const { body } = await pilum.invoke('wait', { ms: 1 });
    const refused = await cancel(body.taskId);
    expect(refused.status).toBe(409);
    expect(refused.json.error).toMatchObject({ code: 'TASK_FINISHED', details: { status: 'completed' } });
    expect((await cancel(body.taskId.replace(/.{4}$/, 'ZZZZ'))).json.error.code).toBe('TASK_NOT_FOUND');
  });
});
