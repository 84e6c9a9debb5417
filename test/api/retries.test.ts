import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
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

type ErrorOf = { readonly code: 'FUNCTION_FAILED' | 'OUT_OF_MEMORY'; readonly message: string };
const failure: ErrorOf = { code: 'FUNCTION_FAILED', message: 'it failed' };

/** Accepts a task and has it fail. */
async function failed(artifact: string, body: unknown = {}, error: ErrorOf = failure, exhausted = true) {
  const id = await api.accept(artifact, body);
  const held = await worker.take(artifact);
  if (held === null) throw new Error('no task');
  await worker.end(held, { status: 'failed', error, exhausted });
  return id;
}

describe('a retry by hand', () => {
  it.each(['small', 'x'.repeat(100_000)])(
    'is a new task with the old payload, and leaves the old outcome',
    async (payload) => {
      await api.deploy('again');
      const id = await failed('again', payload);
      const answer = await api.call('POST', `/v1/tasks/${id}/retry`);
      expect([answer.status, answer.json.status, answer.json.retryOf]).toEqual([202, 'pending', id]);
      expect(answer.headers.location).toBe(`/v1/tasks/${answer.json.taskId}`);
      expect(answer.json.taskId).not.toBe(id);
      const held = await worker.take('again');
      expect(held?.ticket.taskId).toBe(answer.json.taskId);
      expect((await worker.tasks.payload(held!.ticket))?.toString()).toBe(payload);
      await worker.end(held!, json('well'));
      expect((await api.call('GET', `/v1/tasks/${answer.json.taskId}`)).json).toMatchObject({
        status: 'completed',
        result: 'well',
        retryOf: id,
      });
      expect((await api.call('GET', `/v1/tasks/${id}`)).json).toMatchObject({
        status: 'failed',
        statusEndpoint: `/v1/tasks/${id}`,
      });
    },
  );

  it('is the same one when it is asked for again, also at once', async () => {
    await api.deploy('once');
    const id = await failed('once');
    const answers = await Promise.all([1, 2, 3].map(() => api.call('POST', `/v1/tasks/${id}/retry`)));
    expect(new Set(answers.map(({ json: body }) => body.taskId)).size).toBe(1);
    expect(answers.filter(({ headers }) => headers['idempotent-replayed'] === 'true')).toHaveLength(2);
    const held = await worker.take('once');
    await worker.end(held!, json(1));
    const later = await api.call('POST', `/v1/tasks/${id}/retry`);
    expect([later.status, later.json.status]).toEqual([202, 'completed']);
    expect(await worker.take('once')).toBeNull();
  });

  it('is refused for a task that is pending, running, completed or not there', async () => {
    await api.deploy('refusing');
    const id = await api.accept('refusing');
    const retry = async () => (await api.call('POST', `/v1/tasks/${id}/retry`)).json.error;
    expect((await retry()).code).toBe('TASK_PENDING');
    const held = await worker.take('refusing');
    expect((await retry()).code).toBe('TASK_PENDING');
    await worker.end(held!, json(1));
    expect((await retry()).code).toBe('TASK_FINISHED');
    const missing = await api.call('POST', '/v1/tasks/refusing.01J8ZQ5V7N3K4M6P8R9S0T1V2W/retry');
    expect([missing.status, missing.json.error.code]).toEqual([404, 'TASK_NOT_FOUND']);
  });

  it('is refused where the version is gone', async () => {
    await api.deploy('gone');
    const id = await failed('gone');
    await api.call('DELETE', '/v1/artifacts/gone');
    const answer = await api.call('POST', `/v1/tasks/${id}/retry`);
    expect([answer.status, answer.json.error.code]).toEqual([404, 'ARTIFACT_NOT_FOUND']);
  });
});

describe('a retry with changes', () => {
  const retry = (id: string, body?: unknown) => api.call('POST', `/v1/tasks/${id}/retry`, { body });

  it('runs another version where one is asked for, with what that version says', async () => {
    await api.deploy('fixed', { timeouts: { runMs: 1000 } });
    const id = await failed('fixed', { n: 1 });
    await api.deploy('fixed', { timeouts: { runMs: 9000 }, retry: { attempts: 4 } });
    const byNumber = await retry(id, { version: 2 });
    expect([byNumber.status, byNumber.json.version, byNumber.json.retryOf]).toEqual([202, 2, id]);
    expect((await worker.take('fixed'))?.ticket).toMatchObject({ version: 2, runTimeoutMs: 9000, maxAttempts: 4 });
    // By its name it is the same one; as it was, another.
    expect((await retry(id, { version: 'live' })).json.taskId).toBe(byNumber.json.taskId);
    const plain = await retry(id);
    expect(plain.json.version).toBe(1);
    expect((await retry(id, { version: 1 })).json.taskId).toBe(plain.json.taskId);
    expect((await worker.take('fixed'))?.ticket).toMatchObject({ version: 1, runTimeoutMs: 1000, maxAttempts: 1 });
  });

  it('keeps what the old call had said itself', async () => {
    await api.deploy('said', { timeouts: { runMs: 1000 } });
    await api.invoke('said', {}, '?mode=async&timeout=7s&attempts=2');
    const held = await worker.take('said');
    await worker.end(held!, { status: 'failed', error: failure });
    await api.deploy('said', { timeouts: { runMs: 9000 } });
    await retry(held!.ticket.taskId, { version: 2 });
    expect((await worker.take('said'))?.ticket).toMatchObject({ runTimeoutMs: 7000, maxAttempts: 2 });
  });

  it('runs the version that an alias has now, and live where there is none is what a bare id means', async () => {
    await api.deploy('named');
    const id = await failed('named');
    await api.deploy('named', { limits: { cpu: 2 } });
    await api.deploy('named', { limits: { cpu: 3 } });
    await api.call('PUT', '/v1/artifacts/named/aliases/next', { body: { version: 2 } });
    expect((await retry(id, { version: 'next' })).json.version).toBe(2);
    expect((await retry(id, { version: 'live' })).json.version).toBe(3);
    const many = await api.call('POST', '/v1/tasks/retry', { body: { artifact: 'named', version: 'next' } });
    expect(many.json.retried).toHaveLength(1);
    const missing = await retry(id, { version: 'nowhere' });
    expect([missing.status, missing.json.error.code]).toEqual([404, 'ALIAS_NOT_FOUND']);
    expect((await retry(id, { version: 9 })).json.error.code).toBe('VERSION_NOT_FOUND');
  });

  it('has another payload where one is sent, to the last digit', async () => {
    await api.deploy('edited');
    const id = await failed('edited', { amount: 1 });
    const body = '{"payload": {"id": 12345678901234567890, "amount": 2.50}}';
    const headers = { 'content-type': 'application/json' };
    const first = await api.call('POST', `/v1/tasks/${id}/retry`, { body, headers });
    expect(first.status).toBe(202);
    const held = await worker.take('edited');
    expect((await worker.tasks.payload(held!.ticket))?.toString()).toBe('{"id":12345678901234567890,"amount":2.50}');
    expect((await api.call('POST', `/v1/tasks/${id}/retry`, { body, headers })).json.taskId).toBe(first.json.taskId);
    expect((await retry(id, { payload: null })).status).toBe(202);
    const empty = await worker.take('edited');
    expect((await worker.tasks.payload(empty!.ticket))?.toString()).toBe('null');
  });

  it('sends a string in place of text as text, and anything else as JSON', async () => {
    await api.deploy('typed');
    const headers = { 'content-type': 'text/plain; charset=utf-8' };
    await api.call('POST', '/v1/artifacts/typed/invoke?mode=async', { body: 'a line', headers });
    const old = await worker.take('typed');
    await worker.end(old!, { status: 'failed', error: failure });
    for (const [payload, text, contentType] of [
      ['another', 'another', 'text/plain; charset=utf-8'],
      [['another'], '["another"]', 'application/json'],
    ]) {
      await retry(old!.ticket.taskId, { payload });
      const held = await worker.take('typed');
      expect((await worker.tasks.payload(held!.ticket))?.toString()).toBe(text);
      expect(held?.ticket.contentType).toBe(contentType);
    }
  });

  it.each([
    [{ verison: 2 }, '/body has a field that is not known here: "verison"'],
    [{ version: '2' }, '/body/version must be the number of a version'],
    [{ version: 0 }, '/body/version must be the number of a version'],
    [{ version: { number: 2 } }, '/body/version must be the number of a version'],
    [[], '/body must be an object'],
    ['{"version": 2', 'The body is not JSON'],
  ])('is refused where its body is %j', async (body, message) => {
    await api.deploy('strict');
    const id = await failed('strict');
    const answer = await api.call('POST', `/v1/tasks/${id}/retry`, {
      body,
      headers: { 'content-type': 'application/json' },
    });
    expect([answer.status, answer.json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect(answer.json.error.message).toContain(message);
    expect(await worker.take('strict')).toBeNull();
  });

  it('is refused where its payload is larger than that of a call may be', async () => {
    await api.deploy('large');
    const id = await failed('large');
    const answer = await retry(id, { payload: 'x'.repeat(1_048_576) });
    expect([answer.status, answer.json.error.code]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
  });
});

describe('the payload of a task', () => {
  const payloadOf = (id: string) => api.call('GET', `/v1/tasks/${id}/payload`);

  it.each(['small', 'x'.repeat(100_000)])(
    'is answered while the task waits, runs, and after it failed',
    async (text) => {
      await api.deploy('shown');
      const headers = { 'content-type': 'text/csv' };
      const { json: accepted } = await api.call('POST', '/v1/artifacts/shown/invoke?mode=async', {
        body: text,
        headers,
      });
      const check = async () => {
        const answer = await payloadOf(accepted.taskId);
        expect([answer.status, answer.headers['content-type'], answer.text]).toEqual([200, 'text/csv', text]);
        expect(answer.headers['x-content-type-options']).toBe('nosniff');
      };
      await check();
      const held = await worker.take('shown');
      await check();
      await worker.end(held!, { status: 'failed', error: failure });
      await check();
    },
  );

  it('is gone with a completed task, and is nobody else’s', async () => {
    await api.deploy('done');
    const id = await api.accept('done', { secret: 1 });
    expect((await payloadOf(id.replace(/.$/, (last) => (last === '0' ? '1' : '0')))).status).toBe(404);
    const other = await api.call('GET', `/v1/tasks/${id}/payload`, { headers: { 'pilum-namespace': 'elsewhere' } });
    expect([other.status, other.json.error.code]).toEqual([404, 'TASK_NOT_FOUND']);
    await worker.end((await worker.take('done'))!, json(1));
    const answer = await payloadOf(id);
    expect([answer.status, answer.json.error.code]).toEqual([409, 'TASK_FINISHED']);
  });
});

describe('tasks that failed', () => {
  it('are listed and retried by what they ended with', async () => {
    await api.deploy('many');
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push(await failed('many', { i }));
    const memory = await failed('many', {}, { code: 'OUT_OF_MEMORY', message: 'too much' }, false);
    const done = await api.accept('many');
    await worker.end((await worker.take('many'))!, json(1));
    const listed = async (query: string) =>
      (await api.call('GET', `/v1/tasks?artifact=many&${query}`)).json.tasks.map(
        (task: { taskId: string }) => task.taskId,
      );
    expect(await listed('exhausted=true')).toEqual([...ids].reverse());
    expect(await listed('error=OUT_OF_MEMORY')).toEqual([memory]);
    expect(await listed('error=OUT_OF_MEMORY&exhausted=true')).toEqual([]);
    expect(await listed('limit=1')).toEqual([done]);

    const retry = (body: object) => api.call('POST', '/v1/tasks/retry', { body: { artifact: 'many', ...body } });
    const first = (await retry({ exhausted: true, limit: 3 })).json;
    expect(first.retried.map((one: { retryOf: string }) => one.retryOf).sort()).toEqual(ids.slice(2));
    expect(first.refused).toEqual([]);
    const rest = (await retry({ exhausted: true, limit: 3, before: first.next })).json;
    expect(rest.retried.map((one: { retryOf: string }) => one.retryOf).sort()).toEqual(ids.slice(0, 2));
    expect(rest.next).toBeNull();
    // Once more: nothing runs twice.
    expect((await retry({ exhausted: true })).json.retried).toHaveLength(5);
    expect(await api.deps.queues.of({ namespace: 'default', artifactId: 'many' }).counts()).toMatchObject({
      waiting: 5,
    });
    expect((await retry({ status: 'completed' })).status).toBe(400);
    expect((await api.call('POST', '/v1/tasks/retry', { body: {} })).json.error.code).toBe('VALIDATION_FAILED');
  });
});

describe('a backlog', () => {
  it('has a limit in tasks, and says when to come again', async () => {
    await api.deploy('short');
    await api.call('PATCH', '/v1/artifacts/short/settings', { body: { maxBacklog: 2 } });
    await api.accept('short');
    await api.invoke('short', {}, '?mode=async&delay=1h');
    for (const mode of ['sync', 'async']) {
      const refused = await api.invoke('short', 'x'.repeat(100_000), `?mode=${mode}`);
      expect([refused.status, refused.json.error.code]).toEqual([429, 'QUEUE_FULL']);
      expect(refused.headers['retry-after']).toBe('1');
    }
    // Nothing is left of what was refused.
    expect((await worker.redis.keys('*short*payload')).length).toBe(0);
    await worker.take('short');
    await api.accept('short');
  });

  it('has a limit in bytes, which finished tasks no longer count against', async () => {
    await api.deploy('heavy');
    await api.call('PATCH', '/v1/artifacts/heavy/settings', { body: { maxBacklogMiB: 0.25 } });
    const large = 'x'.repeat(100_000);
    await api.accept('heavy', large);
    await api.accept('heavy', large);
    const refused = await api.invoke('heavy', large, '?mode=async');
    expect([refused.status, refused.json.error.code]).toEqual([429, 'QUEUE_FULL']);
    await api.accept('heavy', 'small');
    // One that runs still holds its payload.
    const held = await worker.take('heavy');
    expect((await api.invoke('heavy', large, '?mode=async')).status).toBe(429);
    await worker.end(held!, json(1));
    await api.accept('heavy', large);
    // A cancelled one lets go of it, too.
    const last = (await api.call('GET', '/v1/tasks?artifact=heavy&status=pending&limit=1')).json.tasks[0].taskId;
    await api.call('DELETE', `/v1/tasks/${last}`);
    await api.accept('heavy', large);
  });
});

describe('a task that waits', () => {
  const HOUR_MS = 3_600_000;

  it('may wait for a day where nobody waits for it, and for minutes where someone does', async () => {
    await api.deploy('waits');
    await api.accept('waits');
    expect((await worker.take('waits'))?.ticket.queueMs).toBe(24 * HOUR_MS);
    await api.invoke('waits', {}, '?wait=1ms');
    expect((await worker.take('waits'))?.ticket.queueMs).toBe(300_000);
  });

  it('may wait as long as its version says, in every mode', async () => {
    await api.deploy('says', { timeouts: { queueMs: 7 * 24 * HOUR_MS } });
    await api.accept('says');
    expect((await worker.take('says'))?.ticket.queueMs).toBe(7 * 24 * HOUR_MS);
    await api.invoke('says', {}, '?wait=1ms');
    expect((await worker.take('says'))?.ticket.queueMs).toBe(7 * 24 * HOUR_MS);
  });

  it('is found by its Idempotency-Key for as long as it may wait', async () => {
    await api.deploy('keyed');
    await api.invoke('keyed', {}, '?mode=async&delay=48h', { 'idempotency-key': 'one' });
    const [key = ''] = await api.redis.keys('*keyed*idempotency*');
    expect(await api.redis.ttl(key)).toBeGreaterThan((48 + 24 + 23) * 3600);
  });
});

describe('a task that waits too long', () => {
  it('ends with QUEUE_TIMEOUT although no worker looks at it', async () => {
    await api.deploy('lonely', { timeouts: { queueMs: 300 } });
    await api.deploy('patient', { timeouts: { queueMs: 60_000 } });
    const lonely = await api.accept('lonely');
    const delayed = (await api.invoke('lonely', {}, '?mode=async&delay=500ms')).json.taskId;
    const patient = await api.accept('patient');
    const read = async (id: string) => (await api.call('GET', `/v1/tasks/${id}`)).json;
    for (const id of [lonely, delayed]) {
      await waitFor(async () => (await read(id)).status === 'timeout', {
        what: 'the queue time-out',
      });
      expect(await read(id)).toMatchObject({
        error: { code: 'QUEUE_TIMEOUT', details: { queueMs: 300 }, hint: expect.stringContaining('timeouts.queueMs') },
        attempt: 0,
        attempts: [],
        exhausted: true,
      });
    }
    const { json: listed } = await api.call('GET', '/v1/tasks?artifact=lonely&exhausted=true');
    expect(listed.tasks).toHaveLength(2);
    const { json: retries } = await api.call('POST', '/v1/tasks/retry', {
      body: { artifact: 'lonely', exhausted: true },
    });
    expect(retries.retried).toHaveLength(2);
    await worker.take('lonely');
    await worker.take('lonely');
    expect((await read(patient)).status).toBe('pending');
    expect(await api.deps.queues.of({ namespace: 'default', artifactId: 'lonely' }).counts()).toMatchObject({
      waiting: 0,
    });
  });
});
