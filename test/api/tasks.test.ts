import { newTaskId } from '@pilum/core/redis/task-id.ts';
import { KeptStore } from '@pilum/core/store/kept-store.ts';
import { packLines } from '@pilum/core/store/output-store.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, outcomeFor, ticketFor } from '../support/tasks.ts';
import { waitFor } from '../support/wait-for.ts';
import { startApi, type TestApi } from './support/api.ts';
import { json, TestWorker } from './support/worker.ts';

let redis: TestRedis;
let api: TestApi;
let worker: TestWorker;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  api = kept.add(await startApi({ url: redis.url }));
  worker = kept.add(new TestWorker(redis.url));
  await worker.report();
});

describe('a task', () => {
  it('is pending, running and completed', async () => {
    await api.deploy('states');
    const id = await api.accept('states');
    expect((await api.call('GET', `/v1/tasks/${id}`)).json).toMatchObject({ status: 'pending', mode: 'async' });
    const held = await worker.take('states');
    const running = (await api.call('GET', `/v1/tasks/${id}`)).json;
    expect(running).toMatchObject({ status: 'running', attempt: 1, finishedAt: null });
    expect(running.timing.queuedMs).toBeGreaterThanOrEqual(0);
    if (held) await worker.end(held, json(1));
    expect((await api.call('GET', `/v1/tasks/${id}`)).json).toMatchObject({ status: 'completed', result: 1 });
  });

  it('is waited for', async () => {
    await api.deploy('waited');
    const id = await api.accept('waited');
    const none = await api.call('GET', `/v1/tasks/${id}?wait=50ms`);
    expect([none.status, none.json.status]).toEqual([200, 'pending']);
    const waiting = api.call('GET', `/v1/tasks/${id}?wait=20s`);
    await waitFor(() => api.deps.inbox.waiting === 1, { what: 'the wait' });
    const held = await worker.take('waited');
    // The reply goes to whoever accepted it, which waits no more; the one who joined is told as well.
    const began = performance.now();
    if (held) await worker.end(held, json('heard'));
    expect((await waiting).json.result).toBe('heard');
    // Not at the end of its wait.
    expect(performance.now() - began).toBeLessThan(15_000);
    expect((await api.call('GET', `/v1/tasks/${id}?wait=20s`)).json.result).toBe('heard');
    expect((await api.call('GET', `/v1/tasks/${id}?wait=forever`)).json.error.code).toBe('VALIDATION_FAILED');
    expect((await api.call('GET', `/v1/tasks/${id}?wait=16m`)).json.error.code).toBe('VALIDATION_FAILED');
  });

  it('that is not there, not of this namespace or not an id is said so', async () => {
    await api.deploy('mine');
    const id = await api.accept('mine');
    for (const path of ['', '/result', '/logs', '?wait=5s']) {
      const missing = await api.call('GET', `/v1/tasks/${newTaskId('mine')}${path}`);
      expect([missing.status, missing.json.error.code]).toEqual([404, 'TASK_NOT_FOUND']);
      const foreign = await api.call('GET', `/v1/tasks/${id}${path}`, { headers: { 'pilum-namespace': 'other' } });
      expect(foreign.json.error.code).toBe('TASK_NOT_FOUND');
      for (const wrong of ['mine', 'mine.x', `${id}x`, id.toLowerCase(), `Mine.${id.slice(5)}`]) {
        const answer = await api.call('GET', `/v1/tasks/${wrong}${path}`);
        expect([wrong, answer.status, answer.json.error.code]).toEqual([wrong, 400, 'VALIDATION_FAILED']);
      }
    }
  });

  it('whose result was let go is told so wherever it is asked for; a failed one is not retried', async () => {
    await api.deploy('let-go');
    const kept = new KeptStore(worker.redis);
    for (const size of [10_000, 100_000]) {
      const id = await api.accept('let-go');
      const held = await worker.take('let-go');
      await worker.end(held!, { contentType: 'text/plain', body: 'x'.repeat(size) });
      await kept.letGo({ namespace: 'default', artifactId: 'let-go' }, 0);
      const { json: envelope } = await api.call('GET', `/v1/tasks/${id}`);
      expect(envelope).toMatchObject({ status: 'completed', result: null, resultKept: false });
      const result = await api.call('GET', `/v1/tasks/${id}/result`);
      expect([result.status, result.json.error.code]).toEqual([410, 'NO_LONGER_KEPT']);
    }
    const id = await api.accept('let-go', { text: 'x'.repeat(10_000) });
    const held = await worker.take('let-go');
    await worker.end(held!, { status: 'failed' });
    await kept.letGo({ namespace: 'default', artifactId: 'let-go' }, 0);
    expect((await api.call('GET', `/v1/tasks/${id}`)).json).toMatchObject({ status: 'failed' });
    const retry = await api.call('POST', `/v1/tasks/${id}/retry`);
    expect([retry.status, retry.json.error.code]).toEqual([410, 'NO_LONGER_KEPT']);
  });

  it('whose outcome has expired is gone, though its job is kept for the queue page', async () => {
    await api.deploy('expired');
    const id = await api.accept('expired');
    const held = await worker.take('expired');
    if (held) await worker.end(held, json(1));
    await api.redis.del(...(await api.redis.keys('*expired*outcome')));
    expect((await api.call('GET', `/v1/tasks/${id}`)).status).toBe(404);
  });

  it('has no result before its end', async () => {
    await api.deploy('unfinished');
    const id = await api.accept('unfinished');
    const answer = await api.call('GET', `/v1/tasks/${id}/result`);
    expect([answer.status, answer.json.error.code, answer.json.error.taskId]).toEqual([409, 'TASK_PENDING', id]);
    // Of a log there is as much as was written.
    expect(await api.call('GET', `/v1/tasks/${id}/logs`)).toMatchObject({ status: 200, text: '' });
  });

  it('gives bytes whose content type could not be a header as plain bytes', async () => {
    await api.deploy('forger');
    worker.serve('forger', () => ({ contentType: 'text/html\r\nset-cookie: a=b', body: 'x' }));
    const { json: body } = await api.invoke('forger');
    const raw = await api.call('GET', `/v1/tasks/${body.taskId}/result`);
    expect([raw.status, raw.headers['content-type'], raw.headers['set-cookie']]).toEqual([
      200,
      'application/octet-stream',
      undefined,
    ]);
  });

  it('has a log, for the eye and for programs', async () => {
    await api.deploy('talker');
    const id = await api.accept('talker');
    const held = await worker.take('talker');
    if (held === null) throw new Error('no task');
    const line = (level: string, text: string, fields?: object) =>
      JSON.stringify({ at: '2026-01-01T00:00:00.000Z', stream: 'stdout', level, text, fields });
    const log = packLines(0, 0, `${line('info', 'one')}\n${line('error', 'two', { a: 1 })}\n`);
    await worker.tasks.settle(held.ticket, outcomeFor(held.ticket, { status: 'completed' }), { log });
    const text = await api.call('GET', `/v1/tasks/${id}/logs`);
    expect(text.headers['content-type']).toContain('text/plain');
    expect(text.text).toBe('2026-01-01T00:00:00.000Z INFO  one\n2026-01-01T00:00:00.000Z ERROR two {"a":1}\n');
    for (const asked of [
      api.call('GET', `/v1/tasks/${id}/logs?format=json`),
      api.call('GET', `/v1/tasks/${id}/logs`, { headers: { accept: 'application/x-ndjson' } }),
    ]) {
      const lines = (await asked).text
        .trim()
        .split('\n')
        .map((one) => JSON.parse(one));
      expect(lines[1]).toEqual({
        at: '2026-01-01T00:00:00.000Z',
        stream: 'stdout',
        level: 'error',
        text: 'two',
        fields: { a: 1 },
      });
    }
    expect((await api.call('GET', `/v1/tasks/${id}/logs?tail=1`)).text).toBe(
      '2026-01-01T00:00:00.000Z ERROR two {"a":1}\n',
    );
    expect((await api.call('GET', `/v1/tasks/${id}/logs?tail=0`)).text).toBe('');
    expect((await api.call('GET', `/v1/tasks/${id}/logs?tail=-1`)).json.error.code).toBe('VALIDATION_FAILED');
    const both = await api.call('GET', `/v1/tasks/${id}/logs?tail=1&follow=true`);
    expect(both.json.error.code).toBe('VALIDATION_FAILED');
    expect((await api.call('GET', `/v1/tasks/${id}/logs?format=xml`)).json.error.code).toBe('VALIDATION_FAILED');
    await api.deploy('silent-one');
    worker.serve('silent-one', () => json(1));
    const silent = await api.invoke('silent-one');
    expect(await api.call('GET', `/v1/tasks/${silent.json.taskId}/logs`)).toMatchObject({ status: 200, text: '' });
  });
});

describe('tasks', () => {
  const namespace = { 'pilum-namespace': 'listing' };
  const list = async (query = '') => (await api.call('GET', `/v1/tasks${query}`, { headers: namespace })).json;
  const idsOf = (page: { tasks: { taskId: string }[] }) => page.tasks.map((task) => task.taskId);
  const all: Record<string, string[]> = { completed: [], failed: [], running: [], pending: [] };
  let newestFirst: string[];

  beforeAll(async () => {
    for (const id of ['one', 'two']) await api.deploy(id, {}, namespace);
    const accept = async (id: string) => (await api.invoke(id, {}, '?mode=async', namespace)).json.taskId as string;
    const order: string[] = [];
    for (let i = 0; i < 12; i++) {
      const artifactId = i % 2 === 0 ? 'one' : 'two';
      const id = await accept(artifactId);
      order.push(id);
      const status = ['completed', 'completed', 'failed', 'running', 'pending', 'completed'][i % 6] ?? '';
      all[status]?.push(id);
    }
    // Jobs leave the queue oldest first, so each is taken and either ended, held, or given back at the end.
    const held = [];
    for (const artifactId of ['one', 'two']) {
      for (;;) {
        const job = await worker.take(artifactId, 'listing');
        if (job === null) break;
        held.push(job);
      }
    }
    for (const job of held) {
      const id = job.ticket.taskId;
      if (all.completed?.includes(id)) await worker.end(job, json(1));
      else if (all.failed?.includes(id)) await worker.end(job, { status: 'failed' });
      else if (all.pending?.includes(id)) await worker.queues.of(job.ticket).giveBack(job);
    }
    newestFirst = order.reverse();
    for (const ids of Object.values(all)) ids.reverse();
  });

  it('are listed newest first, over all artifacts and whatever their state', async () => {
    const page = await list();
    expect(idsOf(page)).toEqual(newestFirst);
    expect(page.next).toBeNull();
    expect(page.tasks[0]).not.toHaveProperty('result');
  });

  it.each(['completed', 'failed', 'running', 'pending'])('are listed by status %s', async (status) => {
    const page = await list(`?status=${status}`);
    expect(idsOf(page)).toEqual(all[status]);
    expect(new Set(page.tasks.map((task: { status: string }) => task.status))).toEqual(new Set([status]));
  });

  it('are listed by artifact, and none for one that has none', async () => {
    expect(idsOf(await list('?artifact=two'))).toEqual(newestFirst.filter((id) => id.startsWith('two.')));
    expect(await list('?artifact=three')).toEqual({ tasks: [], next: null });
    expect(await list('?status=cancelled')).toEqual({ tasks: [], next: null });
  });

  it.each(['', '&artifact=one', '&status=completed', '&status=pending'])(
    'are paged without gap or repeat%s',
    async (filter) => {
      const whole = idsOf(await list(`?limit=100${filter}`));
      for (const limit of [1, 3, 5]) {
        const paged: string[] = [];
        let before = '';
        for (let pages = 0; pages < 20; pages++) {
          const page = await list(`?limit=${limit}${filter}${before}`);
          paged.push(...idsOf(page));
          if (page.next === null) break;
          before = `&before=${page.next}`;
        }
        expect(paged).toEqual(whole);
      }
    },
  );

  it('are listed before a time', async () => {
    const middle = newestFirst[5] ?? '';
    const { createdAt } = (await api.call('GET', `/v1/tasks/${middle}`, { headers: namespace })).json;
    const before = idsOf(await list(`?before=${createdAt}`));
    expect(before).not.toContain(middle);
    expect(newestFirst.slice(6)).toEqual(expect.arrayContaining(before));
    expect(await list('?before=2020-01-01')).toEqual({ tasks: [], next: null });
    for (const wrong of ['yesterday', 'one.x', '9', '2026-99-99']) {
      expect((await list(`?before=${wrong}`)).error.code).toBe('VALIDATION_FAILED');
    }
    expect((await list('?status=done')).error.message).toContain('"pending"');
  });

  it('are paged from a long queue and past outcomes that have expired', async () => {
    await api.deploy('long', {}, namespace);
    const queue = api.deps.queues.of({ namespace: 'listing', artifactId: 'long' });
    const ids: string[] = [];
    for (let i = 0; i < 2500; i++) {
      const ticket = ticketFor('long', { namespace: 'listing' });
      ids.push(ticket.taskId);
      await accept(queue, ticket);
    }
    ids.reverse();
    expect(idsOf(await list(`?artifact=long&limit=3&before=${ids[2200]}`))).toEqual(ids.slice(2201, 2204));
    await api.deploy('faded', {}, namespace);
    const kept: string[] = [];
    for (let i = 0; i < 30; i++) {
      const { json: body } = await api.invoke('faded', {}, '?mode=async', namespace);
      const held = await worker.take('faded', 'listing');
      if (held) await worker.end(held, json(i));
      if (i < 2) kept.unshift(body.taskId);
      else await api.redis.del(`{pilum:listing:faded}:task:${body.taskId.split('.')[1]}:outcome`);
    }
    expect(idsOf(await list('?artifact=faded&limit=5'))).toEqual(kept);
  });
});

describe('the tasks of a namespace with many artifacts', () => {
  const headers = { 'pilum-namespace': 'many' };
  const list = async (query: string) => {
    const answer = await api.call('GET', `/v1/tasks?${query}`, { headers });
    expect(answer.status).toBe(200);
    return answer.json.tasks.map(({ taskId }: { taskId: string }) => taskId);
  };

  it('are listed without asking each artifact, the newest first', async () => {
    const some = Array.from({ length: 101 }, (_, i) => `many-${i}`);
    for (const id of some) await api.deps.artifacts.addVersion({ namespace: 'many', artifactId: id }, MANY_VERSION);
    for (const id of ['many-3', 'many-50', 'many-99']) await api.deploy(id, {}, headers);
    const accepted: string[] = [];
    for (const id of ['many-3', 'many-50', 'many-99', 'many-3']) {
      const answer = await api.call('POST', `/v1/artifacts/${id}/invoke?mode=async`, { body: 1, headers });
      accepted.push(answer.json.taskId);
    }
    // What waits or runs is exact at once; all tasks may be a moment late.
    expect(await list('status=pending')).toEqual(accepted.toReversed());
    await waitFor(async () => (await list('limit=10')).length === 4, { what: 'the index' });
    expect(await list('limit=10')).toEqual(accepted.toReversed());
    const page = (await api.call('GET', '/v1/tasks?limit=3', { headers })).json;
    expect(await list(`limit=3&before=${page.next}`)).toEqual(accepted.slice(0, 1));
    await api.call('DELETE', `/v1/tasks/${accepted[1]}`, { headers });
    await waitFor(async () => (await list('status=cancelled')).length === 1, { what: 'the cancelled task' });
    expect(await list('status=cancelled')).toEqual([accepted[1]]);
    expect(await list('status=completed')).toEqual([]);
  });
});

const MANY_VERSION = { contentHash: 'none', spec: { runtime: 'process' } as never, code: null };
