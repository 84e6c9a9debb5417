import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { type OutputEnd, OutputStore } from '@pilum/core/store/output-store.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { EventStream } from '../support/event-stream.ts';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum, type TestProcess } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
let other: { process: TestProcess; url: string };
let redis: Redis;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: { PILUM_STREAM_READER_GRACE_MS: '2000', PILUM_STREAM_WINDOW_MIB: '2' } }));
  other = await pilum.addApi();
  redis = kept.add(connect({ url: pilum.redis.url, name: 'test' }, () => undefined));
  await pilum.deploy('count', {
    code: {
      inline: `
        import { setTimeout as sleep } from 'node:timers/promises';
        export default async function* (event, context) {
          for (let i = event.from ?? 1; i <= event.count; i++) {
            if (event.log) console.log('line', i);
            if (event.progress) context.progress({ done: i });
            yield event.filler ? i + ' ' + 'x'.repeat(event.filler) : { i };
            if (event.failAt === i) throw new Error('no more');
            if (event.exitAt === i && context.attempt <= (event.exits ?? 1)) process.kill(process.pid, 'SIGKILL');
            if (event.ms) await sleep(event.ms);
          }
          return { total: event.count };
        }`,
    },
    timeouts: { runMs: 60_000 },
  });
});

const start = (event: unknown, query = '', url = pilum.url) =>
  EventStream.open(`${url}/v1/artifacts/count/stream${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(event),
  });

const read = (taskId: string, lastId?: string, url = other.url, query = '') =>
  EventStream.open(`${url}/v1/tasks/${taskId}/stream${query}`, {
    headers: lastId === undefined ? {} : { 'last-event-id': lastId },
  });

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('a stream', () => {
  it('brings each chunk as it is yielded, and ends with the envelope', async () => {
    const stream = await start({ count: 3, ms: 200 });
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const first = await stream.next();
    expect(first).toEqual({ id: '1', event: 'chunk', data: { i: 1 } });
    const state = (await pilum.call('GET', `/v1/tasks/${stream.taskId}`)).json;
    expect(state).toMatchObject({ status: 'running', mode: 'stream' });
    const rest = await stream.rest();
    expect(rest.map(({ id, event }) => `${id} ${event}`)).toEqual(['2 chunk', '3 chunk', '4 end']);
    expect(rest.at(-1)?.data).toMatchObject({ status: 'completed', result: { total: 3 }, taskId: stream.taskId });
  });

  it('is read by others, through another API process, from the beginning or from where they were', async () => {
    const stream = await start({ count: 40, ms: 20 });
    await stream.take(5);
    const late = await read(stream.taskId);
    const resumed = await read(stream.taskId, '3');
    expect((await late.rest()).filter(({ event }) => event === 'chunk').map(({ data }) => data.i)).toEqual(
      numbers(1, 40),
    );
    expect((await resumed.rest()).map(({ id }) => Number(id))).toEqual(numbers(4, 41));
    expect((await stream.rest()).at(-1)?.event).toBe('end');
    const ended = await read(stream.taskId, '38');
    expect((await ended.rest()).map(({ event }) => event)).toEqual(['chunk', 'chunk', 'end']);
    // Who has the end as well needs nothing, and a client of events does not come back after this status.
    expect((await read(stream.taskId, '41')).response.status).toBe(204);
  });

  it('is read once and in order by a reader that is cut off twenty times, at two API processes in turns', async () => {
    const stream = await start({ count: 10_000 });
    const got = (await stream.take(7)).map(({ data }) => data.i as number);
    stream.break();
    let lastId = '7';
    for (let turn = 0; turn < 20; turn++) {
      const again = await read(stream.taskId, lastId, turn % 2 === 0 ? other.url : pilum.url);
      const events = await again.take(turn % 5 === 0 ? 1 : 173);
      again.break();
      got.push(...events.map(({ data }) => data.i as number));
      lastId = events.at(-1)?.id ?? lastId;
    }
    const last = await (await read(stream.taskId, lastId)).rest();
    expect(last.pop()?.data).toMatchObject({ status: 'completed' });
    got.push(...last.map(({ data }) => data.i as number));
    expect(got).toEqual(numbers(1, 10_000));
  });

  it('is JSON lines or bare bytes for those who ask for that', async () => {
    const as = (accept: string, event: unknown) =>
      pilum.call('POST', '/v1/artifacts/count/stream', { body: event, headers: { accept } });
    const lines = await as('application/x-ndjson', { count: 2 });
    expect(lines.headers.get('content-type')).toBe('application/x-ndjson');
    const events = lines.text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events.map(({ id, event }) => `${id} ${event}`)).toEqual(['1 chunk', '2 chunk', '3 end']);
    expect((await as('application/octet-stream', { count: 2 })).text).toBe('{"i":1}\n{"i":2}\n');
    expect((await as('application/octet-stream', { count: 2, filler: 3 })).text).toBe('1 xxx2 xxx');
  });

  it('brings log and progress between the chunks', async () => {
    const stream = await start({ count: 2, ms: 300, log: true, progress: true }, '?logs=true');
    const events = await stream.rest();
    const seen = events.map(({ event, data }) =>
      event === 'log' ? data.text : event === 'progress' ? data.done : event,
    );
    expect(seen).toEqual(['line 1', 1, 'chunk', 'line 2', 2, 'chunk', 'end']);
    expect(events[0]?.data).toMatchObject({ stream: 'stdout', level: 'info', attempt: 1 });
    expect(events.at(-1)?.data).toMatchObject({ progress: { done: 2 } });
    // The same to whoever comes later; in the middle as well.
    expect(await (await read(stream.taskId, undefined, other.url, '?logs=true')).rest()).toEqual(events);
    const middle = events[2]?.id;
    expect(await (await read(stream.taskId, middle, other.url, '?logs=true')).rest()).toEqual(events.slice(3));
  });

  it('says that its task has failed, in the stream or by breaking off', async () => {
    const events = await (await start({ count: 3, failAt: 2 })).rest();
    expect(events.map(({ event }) => event)).toEqual(['chunk', 'chunk', 'end']);
    expect(events.at(-1)?.data).toMatchObject({
      status: 'failed',
      error: { code: 'FUNCTION_FAILED', message: 'Error: no more' },
    });
    const raw = pilum.call('POST', '/v1/artifacts/count/stream', {
      body: { count: 3, failAt: 2 },
      headers: { accept: 'application/octet-stream' },
    });
    await expect(raw).rejects.toThrow();
    const early = await pilum.call('POST', '/v1/artifacts/count/stream', {
      body: '{"count":',
      headers: { accept: 'application/octet-stream', 'content-type': 'application/json' },
    });
    expect(early.status).toBe(400);
  });

  it('shows what a function returns that does not yield', async () => {
    await pilum.deploy('plain', { code: { inline: 'export default (e) => e.text ? "x".repeat(600000) : { a: 1 }' } });
    const open = (event: unknown) =>
      EventStream.open(`${pilum.url}/v1/artifacts/plain/stream`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(event),
      });
    const events = await (await open({})).rest();
    expect(events.map(({ event, data }) => [event, event === 'chunk' ? data : data.result])).toEqual([
      ['chunk', { a: 1 }],
      ['end', { a: 1 }],
    ]);
    const long = await (await open({ text: true })).rest();
    expect(
      long
        .filter(({ event }) => event === 'chunk')
        .map(({ data }) => data)
        .join(''),
    ).toBe('x'.repeat(600_000));
  });

  it('of a task that is not streamed has its end', async () => {
    await pilum.deploy('waits', {
      code: { inline: 'export default () => new Promise((r) => setTimeout(() => r(7), 700))' },
    });
    const { body } = await pilum.invoke('waits', {}, '?mode=async');
    const events = await (await read(body.taskId)).rest();
    expect(events).toMatchObject([{ event: 'end', data: { status: 'completed', result: 7, mode: 'async' } }]);
  });
});

describe('who reads a stream', () => {
  it('slows it down by reading slowly, and others never do', async () => {
    const stream = await start({ count: 20_000, filler: 1000 });
    await stream.take(1);
    // 20 MB are asked for, and nobody takes them: what is on the way is bounded.
    await sleep(1500);
    const held = await given(stream.taskId);
    expect(held.bytes).toBeLessThan(8_000_000);
    await sleep(500);
    expect(await given(stream.taskId)).toEqual(held);
    // One that comes later and does not read holds nothing back: the first goes on as fast as it reads.
    const idle = await read(stream.taskId, String(held.frames - 1));
    await idle.next();
    const events = await stream.rest();
    expect(events.at(-1)).toMatchObject({ event: 'end', data: { status: 'completed' } });
    expect(events.filter(({ event }) => event === 'chunk')).toHaveLength(19_999);
    idle.break();
  });

  it('is told what is left where it asks for what is no longer kept', async () => {
    const stream = await start({ count: 5000, filler: 1000 });
    await stream.rest();
    const gone = await fetch(`${other.url}/v1/tasks/${stream.taskId}/stream`);
    expect(gone.status).toBe(410);
    const { error } = (await gone.json()) as { error: { code: string; details: { oldestId: number } } };
    expect(error.code).toBe('STREAM_TRUNCATED');
    expect(error.details.oldestId).toBeGreaterThan(2000);
    const left = await (await read(stream.taskId, String(error.details.oldestId - 1))).rest();
    expect(left[0]?.id).toBe(String(error.details.oldestId));
    expect(left.at(-1)?.event).toBe('end');
    // The window was asked for in MiB.
    expect(left.length).toBeGreaterThan(1900);
  });

  it('and leaves, has its task cancelled after a while, unless it was to go on', async () => {
    const [stays, goes] = await Promise.all([
      start({ count: 200, ms: 50 }, '?detach=true'),
      start({ count: 2000, ms: 50 }),
    ]);
    await Promise.all([stays.take(1), goes.take(1)]);
    stays.break();
    goes.break();
    const cancelled = await pilum.call('GET', `/v1/tasks/${goes.taskId}?wait=20s`);
    expect(cancelled.json).toMatchObject({ status: 'cancelled', error: { code: 'TASK_CANCELLED' } });
    expect(cancelled.json.error.message).toContain('no reader');
    expect((await pilum.call('GET', `/v1/tasks/${stays.taskId}?wait=20s`)).json.status).toBe('completed');
    expect((await (await read(stays.taskId, '195')).rest()).at(-1)?.event).toBe('end');
  });

  it('and comes back in time, finds it where it left it', async () => {
    const stream = await start({ count: 12_000, filler: 1000 });
    await stream.take(10);
    stream.break();
    await sleep(1000);
    // It waits meanwhile: more than the window would have gone by.
    const again = await read(stream.taskId, '10');
    const events = await again.rest();
    expect(events.filter(({ event }) => event === 'chunk').map(({ id }) => Number(id))).toEqual(numbers(11, 12_000));
  });

  it('gives an id of its own making, is told so', async () => {
    const stream = await start({ count: 1 });
    await stream.rest();
    for (const id of ['x', '1-2', '-1', '1.5']) {
      const refused = await fetch(`${pilum.url}/v1/tasks/${stream.taskId}/stream`, {
        headers: { 'last-event-id': id },
      });
      expect(refused.status, id).toBe(400);
    }
    const running = await start({ count: 20, ms: 50 });
    const ahead = await fetch(`${pilum.url}/v1/tasks/${running.taskId}/stream`, {
      headers: { 'last-event-id': '1000' },
    });
    expect([ahead.status, await ahead.text()]).toEqual([400, expect.stringContaining('ahead')]);
    expect((await fetch(`${pilum.url}/v1/tasks/count.01J8ZQ5V7N3K4M6P8R9S0T1V2W/stream`)).status).toBe(404);
    running.break();
  });
});

describe('a streamed task', () => {
  it('is not run again once it has given a chunk, and says that its instance was lost', async () => {
    const events = await (await start({ count: 5, exitAt: 2, ms: 20 })).rest();
    expect(events.map(({ event }) => event)).toEqual(['chunk', 'chunk', 'end']);
    expect(events.at(-1)?.data).toMatchObject({ status: 'failed', error: { code: 'INSTANCE_LOST' } });
    expect(events.at(-1)?.data.error.message).toContain('restart=true');
  });

  it('is run again where that was asked for, and an event stands between', async () => {
    const lost = await (await start({ count: 3, exitAt: 2, ms: 20, exits: 0 }, '?restart=true')).rest();
    expect(lost.at(-1)?.data.status).toBe('completed');
    const failing = await start({ count: 3, failAt: 2 }, '?restart=true&attempts=2');
    const events = await failing.rest();
    expect(events.map(({ event }) => event)).toEqual(['chunk', 'chunk', 'restart', 'chunk', 'chunk', 'end']);
    expect(events[2]?.data).toMatchObject({ attempt: 2 });
    expect(events.at(-1)?.data).toMatchObject({ status: 'failed', attempt: 2 });
    const once = await (await start({ count: 3, failAt: 2 }, '?attempts=3')).rest();
    expect(once.at(-1)?.data).toMatchObject({ status: 'failed', attempt: 1 });
  });

  it('is joined by a second call with its Idempotency-Key', async () => {
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'once' },
      body: JSON.stringify({ count: 10, ms: 50 }),
    };
    const first = await EventStream.open(`${pilum.url}/v1/artifacts/count/stream`, init);
    await first.take(2);
    const second = await EventStream.open(`${other.url}/v1/artifacts/count/stream`, init);
    expect(second.taskId).toBe(first.taskId);
    expect(second.response.headers.get('idempotent-replayed')).toBe('true');
    expect((await second.rest()).map(({ id }) => Number(id))).toEqual(numbers(1, 11));
    expect(await first.rest()).toHaveLength(9);
  });

  it('that is cancelled says so to its readers', async () => {
    const stream = await start({ count: 1000, ms: 50 });
    await stream.take(2);
    await pilum.call('DELETE', `/v1/tasks/${stream.taskId}`);
    expect((await stream.rest()).at(-1)).toMatchObject({ event: 'end', data: { status: 'cancelled' } });
  });

  it('is counted while it is open, and has no head alone', async () => {
    const open = async () =>
      Number(/^pilum_streams_open (\d+)$/m.exec((await pilum.call('GET', '/metrics')).text)?.[1]);
    const stream = await start({ count: 1000, ms: 50 });
    await stream.take(1);
    await waitFor(async () => (await open()) === 1, { what: 'one open stream' });
    expect((await fetch(`${pilum.url}/v1/tasks/${stream.taskId}/stream`, { method: 'HEAD' })).status).toBe(404);
    expect((await fetch(`${pilum.url}/v1/tasks/${stream.taskId}/logs?follow=true`, { method: 'HEAD' })).status).toBe(
      200,
    );
    stream.break();
    await waitFor(async () => (await open()) === 0, { what: 'none' });
  });

  it('needs options that are known', async () => {
    for (const query of ['?mode=stream', '?wait=3s', '?detach=perhaps', '?logs=1', '?restart']) {
      const refused = await pilum.call('POST', `/v1/artifacts/count/stream${query}`, { body: {} });
      expect([query, refused.status, refused.json.error.code]).toEqual([query, 400, 'VALIDATION_FAILED']);
    }
    const unknown = await pilum.call('POST', '/v1/artifacts/nobody/stream', { body: {} });
    expect(unknown.json.error.code).toBe('ARTIFACT_NOT_FOUND');
  });
});

describe('a log', () => {
  it('is there while its task runs, and is followed to its end', async () => {
    const { body } = await pilum.invoke('count', { count: 6, ms: 250, log: true }, '?mode=async');
    const soFar = await waitFor(
      async () => {
        const { text } = await pilum.call('GET', `/v1/tasks/${body.taskId}/logs`);
        return text === '' ? undefined : text;
      },
      { what: 'the first lines' },
    );
    expect(soFar).toContain('line 1');
    expect((await pilum.call('GET', `/v1/tasks/${body.taskId}`)).json.status).toBe('running');
    const follow = await EventStream.open(`${other.url}/v1/tasks/${body.taskId}/logs?follow=true`);
    const events = await follow.rest();
    expect(events.map(({ id, event }) => `${id} ${event}`)).toEqual([...numbers(1, 6).map((i) => `${i} log`), '7 end']);
    expect(events.slice(0, 6).map(({ data }) => data.text)).toEqual(numbers(1, 6).map((i) => `line ${i}`));
    const resumed = await EventStream.open(`${pilum.url}/v1/tasks/${body.taskId}/logs?follow=true`, {
      headers: { 'last-event-id': '4' },
    });
    expect((await resumed.rest()).map(({ id }) => id)).toEqual(['5', '6', '7']);
  });

  it('keeps the newest lines, and says how many are gone', async () => {
    await pilum.deploy('flood', {
      code: {
        inline:
          'export default (e) => { for (let i = 1; i <= e.count; i++) console.log(i, "x".repeat(90)); return "done" }',
      },
    });
    const { body } = await pilum.invoke('flood', { count: 20_000 });
    expect(body.result).toBe('done');
    const { text } = await pilum.call('GET', `/v1/tasks/${body.taskId}/logs`);
    const lines = text.trim().split('\n');
    expect(lines[0]).toMatch(/\[pilum\] \d+ earlier lines were dropped/);
    const dropped = Number(/(\d+) earlier/.exec(lines[0] ?? '')?.[1]);
    expect(dropped + lines.length - 1).toBe(20_000);
    expect(lines.at(-1)).toContain('20000 x');
    expect(text.length).toBeLessThan(300 * 1024);
    expect((await pilum.call('GET', `/v1/tasks/${body.taskId}/logs?tail=2`)).text.trim().split('\n')).toHaveLength(2);
  });

  it('has the lines of every attempt, and says of which they are', async () => {
    await pilum.deploy('tries', {
      code: { inline: 'export default (e, { attempt }) => { console.log("try", attempt); if (attempt < 3) throw 1; }' },
      retry: { attempts: 3, backoff: { delayMs: 10 } },
    });
    const { body } = await pilum.invoke('tries', {});
    const { text } = await pilum.call('GET', `/v1/tasks/${body.taskId}/logs?format=json`);
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const own = lines.filter(({ stream }) => stream === 'stdout');
    expect(own.map(({ text: said, attempt }) => [said, attempt])).toEqual([
      ['try 1', 1],
      ['try 2', 2],
      ['try 3', 3],
    ]);
  });
});

describe('progress', () => {
  it('of a task that runs is in its envelope', async () => {
    const { body } = await pilum.invoke('count', { count: 20, ms: 100, progress: true }, '?mode=async');
    const seen = await waitFor(
      async () => (await pilum.call('GET', `/v1/tasks/${body.taskId}`)).json.progress ?? undefined,
      { what: 'progress' },
    );
    expect(seen.done).toBeGreaterThan(0);
    const ended = await pilum.call('GET', `/v1/tasks/${body.taskId}?wait=20s`);
    expect(ended.json).toMatchObject({ status: 'completed', progress: { done: 20 } });
    const events = await (await read(body.taskId)).rest();
    expect(events.filter(({ event }) => event === 'progress').length).toBeGreaterThan(2);
  });
});

describe('a process that is killed in mid-stream', () => {
  it('leaves, where it was an API, a stream that goes on at another', async () => {
    const doomed = await pilum.addApi();
    const stream = await start({ count: 100, ms: 20 }, '', doomed.url);
    const got = await stream.take(10);
    doomed.process.signal('SIGKILL');
    await expect(stream.rest()).rejects.toThrow();
    const rest = await (await read(stream.taskId, got.at(-1)?.id)).rest();
    expect(rest.map(({ id }) => Number(id))).toEqual(numbers(11, 101));
    expect(rest.at(-1)?.data.status).toBe('completed');
  });

  it('leaves, where it was a worker, an end that says so, or a restart where that was asked for', async () => {
    const worker = pilum.workers.at(-1);
    const [plain, again] = await Promise.all([
      start({ count: 100, ms: 50 }),
      start({ count: 40, ms: 50 }, '?restart=true'),
    ]);
    await Promise.all([plain.take(5), again.take(5)]);
    worker?.signal('SIGKILL');
    await worker?.ended;
    await pilum.addWorker();
    const [lost, restarted] = await Promise.all([plain.rest(), again.rest()]);
    expect(lost.at(-1)).toMatchObject({ event: 'end', data: { status: 'failed', error: { code: 'INSTANCE_LOST' } } });
    const at = restarted.findIndex(({ event }) => event === 'restart');
    const after = restarted.slice(at + 1);
    expect(after.slice(0, -1).map(({ data }) => data.i)).toEqual(numbers(1, 40));
    expect(after.at(-1)?.data).toMatchObject({ status: 'completed', recoveries: 1 });
    expect(restarted.map(({ id }) => Number(id))).toEqual(numbers(6, 5 + restarted.length));
  });
});

/** How far the output of a task has come. */
async function given(taskId: string): Promise<OutputEnd> {
  return await new OutputStore(redis).end({ namespace: 'default', taskId });
}
