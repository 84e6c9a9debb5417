import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { prettyJson } from '../../apps/api/src/http/pretty.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';
import { json, TestWorker } from './support/worker.ts';

let redis: TestRedis;
let api: TestApi;
let worker: TestWorker;
beforeAll(async () => {
  redis = await startRedis();
  api = await startApi({ url: redis.url });
  worker = new TestWorker(redis.url);
});
afterAll(async () => {
  await api?.close();
  await worker?.close();
  await redis?.close();
});

/** Accepts a task and has it end with a result. */
async function completed(artifact: string, result: unknown): Promise<string> {
  const id = await api.accept(artifact);
  await worker.end((await worker.take(artifact))!, json(result));
  return id;
}

describe('a task that has ended', () => {
  it.each(['stream', 'stream?logs=true', 'logs?follow=true'])('is read by /%s at once', async (path) => {
    await api.deploy('ended');
    const id = await completed('ended', 7);
    // Whoever does not know that it has ended would look for it again, after a while.
    const looks = vi.spyOn(api.deps.tasks, 'outcome');
    const { text } = await api.call('GET', `/v1/tasks/${id}/${path}`);
    expect(text).toContain('event: end\n');
    expect(looks).toHaveBeenCalledTimes(1);
    looks.mockRestore();
  });

  it('says where to read it to whoever reads it, and used up is only what there was more than one of', async () => {
    await api.deploy('once');
    const id = await api.accept('once');
    const error = { code: 'FUNCTION_FAILED' as const, message: 'no' };
    await worker.end((await worker.take('once'))!, {
      status: 'failed',
      error,
      exhausted: true,
      runMs: 8.10403299999598,
    });
    const { json: read } = await api.call('GET', `/v1/tasks/${id}`);
    expect(read.statusEndpoint).toBe(`/v1/tasks/${id}`);
    expect(read).not.toHaveProperty('exhausted');
    expect([read.timing.runMs, read.attempts[0].runMs]).toEqual([8.104, 8.104]);
    expect((await api.call('GET', '/v1/tasks?artifact=once&exhausted=true')).json.tasks).toHaveLength(1);
    await api.deploy('twice');
    const second = await api.accept('twice');
    await worker.end((await worker.take('twice'))!, { status: 'failed', error, exhausted: true, attempt: 2 });
    expect((await api.call('GET', `/v1/tasks/${second}`)).json.exhausted).toBe(true);
  });
});

describe('a list of tasks', () => {
  const list = async (query: string) => (await api.call('GET', `/v1/tasks?artifact=listed&${query}`)).json;

  it('has their results where they are asked for, exactly as they were given', async () => {
    await api.deploy('listed');
    const id = await api.accept('listed');
    const body = '{"n":12345678901234567890}';
    await worker.end((await worker.take('listed'))!, { contentType: 'application/json', body });
    await completed('listed', 'two');
    await api.accept('listed');
    const { text, json: page } = await api.call('GET', '/v1/tasks?artifact=listed&include=result&limit=1000');
    expect(page.tasks.map((task: { status: string }) => task.status)).toEqual(['pending', 'completed', 'completed']);
    expect(page.tasks[1].result).toBe('two');
    expect(text).toContain(body);
    expect(page.tasks[2]).toMatchObject({ taskId: id, statusEndpoint: `/v1/tasks/${id}` });
    expect((await list('limit=3')).tasks[1]).not.toHaveProperty('result');
    expect((await list('include=results')).error.message).toContain('/query/include');
  });

  it('ends early where the results are large, and goes on from there', async () => {
    await api.deploy('bulky');
    for (let i = 0; i < 3; i++) await completed('bulky', String(i).repeat(5 * 1_048_576));
    const pages: number[] = [];
    for (let before = ''; ; ) {
      const query = before === '' ? '' : `&before=${before}`;
      const { json: page } = await api.call('GET', `/v1/tasks?artifact=bulky&include=result${query}`);
      pages.push(page.tasks.length);
      if (page.next === null) break;
      before = page.next;
    }
    expect(pages).toEqual([2, 1]);
  });

  it('begins where one says', async () => {
    await api.deploy('since');
    const ids = [];
    for (let i = 0; i < 4; i++) ids.push(await completed('since', i));
    const since = async (from: string, more = '') =>
      (await api.call('GET', `/v1/tasks?artifact=since&since=${from}${more}`)).json.tasks.map(
        (task: { taskId: string }) => task.taskId,
      );
    expect(await since(ids[2]!)).toEqual([ids[3], ids[2]]);
    expect(await since(ids[1]!, `&before=${ids[3]}`)).toEqual([ids[2], ids[1]]);
    expect(await since('2020-01-01')).toHaveLength(4);
    expect(await since(new Date(Date.now() + 60_000).toISOString())).toEqual([]);
    const wrong = await api.call('GET', '/v1/tasks?artifact=since&since=yesterday');
    expect([wrong.status, wrong.json.error.message]).toEqual([400, expect.stringContaining('/query/since')]);
  });

  it('of all artifacts is shorter', async () => {
    expect((await api.call('GET', '/v1/tasks?limit=100')).status).toBe(200);
    const answer = await api.call('GET', '/v1/tasks?limit=101');
    expect([answer.status, answer.json.error.message]).toEqual([400, expect.stringContaining('?artifact=')]);
    expect((await list('limit=1001')).error.code).toBe('VALIDATION_FAILED');
  });
});

describe('an answer', () => {
  it('is in lines for ?pretty, on every route, and every token of it stays', async () => {
    await api.deploy('pretty');
    const id = await api.accept('pretty');
    const body = '{ "a":[1.50,{"b":"x, {y}: [\\"z\\"]"}],"c":{},"d":[] }';
    await worker.end((await worker.take('pretty'))!, { contentType: 'application/json', body });
    const { text } = await api.call('GET', `/v1/tasks/${id}?pretty`);
    expect(text).toContain(
      '  "result": {\n    "a": [\n      1.50,\n      {\n        "b": "x, {y}: [\\"z\\"]"\n      }\n    ],\n    "c": {},\n    "d": []\n  },\n',
    );
    expect((await api.call('GET', '/v1/workers?pretty=true')).text).toContain('{\n  "workers"');
    expect((await api.call('GET', '/v1/workers?pretty=false')).text).not.toContain('\n');
    expect((await api.call('GET', '/v1/tasks/nothing?pretty')).text).toContain('{\n  "error": {\n');
    expect((await api.call('GET', '/v1/workers?pretty=very')).json.error.message).toContain('/query/pretty');
  });

  it('in lines is the same JSON', () => {
    for (const value of [0, 'a"b\\', [], {}, [[]], [{}], { a: [1, [2, { b: null }]] }, 'x'.repeat(100)]) {
      expect(JSON.parse(prettyJson(JSON.stringify(value)))).toEqual(value);
      expect(prettyJson(JSON.stringify(value))).toBe(`${JSON.stringify(value, null, 2)}\n`);
    }
  });

  it('of / names what there is, as JSON or as a page', async () => {
    const { json: start } = await api.call('GET', '/');
    expect(start).toMatchObject({ name: 'Pilum', endpoints: { docs: '/docs', artifacts: '/v1/artifacts' } });
    for (const path of Object.values(start.endpoints) as string[]) {
      expect([path, (await api.call('GET', path)).status]).not.toEqual([path, 404]);
    }
    const page = await api.call('GET', '/', { headers: { accept: 'text/html,*/*;q=0.8' } });
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.text).toContain('<a href="/docs">');
  });

  it('has one full stop at its end where it says what form is the right one', async () => {
    const { json: refused } = await api.call('PUT', '/v1/artifacts/A_B', { body: { runtime: 'process' } });
    expect(refused.error.message).toMatch(/[^.]\.$/);
    const tag = { runtime: 'docker', code: { image: '-x' } };
    const { json: two } = await api.call('PUT', '/v1/artifacts/two', { body: tag });
    expect(two.error.message).toMatch(/[^.]\.$/);
  });
});
