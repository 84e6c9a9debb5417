import { Registry } from 'prom-client';
import { beforeAll, describe, expect, it } from 'vitest';
import { showEventLoopLag } from '../../apps/api/src/observability/event-loop-lag.ts';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
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
});

const now = new Date().toISOString();
const instance = (artifactId: string, namespace = 'default') => ({
  instanceId: `${artifactId}-1`,
  workerId: 'worker-1',
  namespace,
  artifactId,
  version: 1,
  state: 'ready' as const,
  createdAt: now,
  lastUsedAt: now,
  tasksRun: 1,
  taskId: null,
});

describe('health', () => {
  it('lives always, and is ready with Redis and a worker', async () => {
    expect((await api.call('GET', '/livez')).json).toEqual({ live: true });
    const none = await api.call('GET', '/readyz');
    expect([none.status, none.json]).toEqual([503, { ready: false, redis: true, workers: 0 }]);
    await worker.report();
    const fresh = await startApi({ url: redis.url });
    const some = await fresh.call('GET', '/readyz');
    expect([some.status, some.json]).toEqual([200, { ready: true, redis: true, workers: 1 }]);
    await fresh.close();
  });

  it('lists workers, and the instances of the namespace', async () => {
    await worker.report({ attached: 2 }, [instance('a'), instance('b', 'other')]);
    expect((await api.call('GET', '/v1/workers')).json.workers).toMatchObject([{ workerId: 'worker-1', attached: 2 }]);
    expect((await api.call('GET', '/v1/instances')).json.instances).toMatchObject([{ artifactId: 'a' }]);
    const other = await api.call('GET', '/v1/instances', { headers: { 'pilum-namespace': 'other' } });
    expect(other.json.instances).toMatchObject([{ artifactId: 'b' }]);
    expect((await api.call('GET', '/v1/workers?x=1')).status).toBe(400);
  });
});

describe('metrics', () => {
  it('have the six figures of each artifact', async () => {
    await api.deploy('figured');
    const endings = [
      { status: 'completed', runMs: 500 },
      { status: 'completed', runMs: 500 },
      { status: 'failed' },
      { status: 'timeout' },
      { status: 'cancelled' },
    ] as const;
    for (const ending of endings) {
      await api.accept('figured');
      const held = await worker.take('figured');
      if (held) await worker.end(held, ending);
    }
    await api.accept('figured');
    await api.accept('figured');
    await worker.report({}, [instance('figured')]);
    const fresh = await startApi({ url: redis.url });
    const { text, headers } = await fresh.call('GET', '/metrics');
    expect(headers['content-type']).toContain('text/plain; version=0.0.4');
    const value = (name: string) =>
      new RegExp(`^${name}\\{namespace="default",artifact="figured"\\} (.*)$`, 'm').exec(text)?.[1];
    expect({
      total: value('pilum_tasks_total'),
      successful: value('pilum_tasks_successful_total'),
      failed: value('pilum_tasks_failed_total'),
      averageRun: value('pilum_task_run_average_seconds'),
      instances: value('pilum_instances_active'),
      queueLength: value('pilum_queue_length'),
    }).toEqual({ total: '5', successful: '2', failed: '2', averageRun: '0.5', instances: '1', queueLength: '2' });
    expect(text).toMatch(/^process_cpu_user_seconds_total /m);
    expect((await fresh.call('GET', '/metrics')).text).toBe(text);
    await fresh.close();
  });

  it('tell what waits from what is not due yet, and leave layers out', async () => {
    await api.deploy('later');
    await api.deploy('a-layer', { runtime: 'layer', entry: 'x.py' });
    await api.invoke('later', {}, '?mode=async&delay=1h');
    await api.accept('later');
    const fresh = await startApi({ url: redis.url });
    const { text } = await fresh.call('GET', '/metrics');
    expect(text).toContain('pilum_queue_length{namespace="default",artifact="later"} 1');
    expect(text).toContain('pilum_queue_delayed{namespace="default",artifact="later"} 1');
    expect(text).not.toContain('a-layer');
    await fresh.close();
  });

  it('show each figure of artifacts on one page, however many processes are asked', async () => {
    await api.deploy('once');
    const [first, second] = [await startApi({ url: redis.url }), await startApi({ url: redis.url })];
    const pages = async () =>
      await Promise.all([first, second].map(async (one) => (await one.call('GET', '/metrics')).text));
    const shown = (text: string) => text.includes('pilum_tasks_total{namespace="default",artifact="once"}');
    const texts = await pages();
    expect(texts.filter(shown)).toHaveLength(1);
    const other = texts.find((text) => !shown(text));
    expect(other).toMatch(/^# The figures of artifacts.*another API process/);
    expect(other).toMatch(/^process_cpu_user_seconds_total /m);
    // It is left to the other when the one that shows it stops.
    await Promise.all([first.close(), second.close()]);
    const third = await startApi({ url: redis.url });
    expect(shown((await third.call('GET', '/metrics')).text)).toBe(true);
    await third.close();
  });

  it('have gauges that are named like gauges, and an idle process that does not lag', async () => {
    const fresh = await startApi({ url: redis.url });
    const read = async () => (await fresh.call('GET', '/metrics')).text;
    const text = await read();
    for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\w+)$/gm)) {
      expect(`${name} ${type}`).not.toMatch(/_total gauge$/);
    }
    expect(text).toMatch(/^nodejs_eventloop_lag_p50_seconds /m);
    await fresh.close();

    // The least of some looks, each a tenth of a second after the one before: that pause itself is no lag.
    const registry = new Registry();
    showEventLoopLag(registry);
    await new Promise((resolve) => setTimeout(resolve, 550));
    const lag = Number(/^nodejs_eventloop_lag_min_seconds (.*)$/m.exec(await registry.metrics())?.[1]);
    expect(lag).toBeLessThan(0.09);
  });

  it('are a page within a second or two for a thousand artifacts', async () => {
    const ids = Array.from({ length: 1000 }, (_, i) => `many-${i}`);
    const headers = { 'pilum-namespace': 'many' };
    for (let i = 0; i < ids.length; i += 50) {
      await Promise.all(ids.slice(i, i + 50).map((id) => api.deploy(id, {}, headers)));
    }
    const fresh = await startApi({ url: redis.url });
    const began = performance.now();
    const { text } = await fresh.call('GET', '/metrics');
    const tookMs = Math.round(performance.now() - began);
    console.log(`metrics of 1000 artifacts: ${tookMs} ms, ${Math.round(text.length / 1024)} KiB`);
    expect(text.match(/^pilum_queue_length\{namespace="many"/gm)).toHaveLength(1000);
    expect(tookMs).toBeLessThan(5000);
    const listed = performance.now();
    expect((await fresh.call('GET', '/v1/tasks', { headers })).json.tasks).toEqual([]);
    console.log(`tasks of 1000 artifacts listed: ${Math.round(performance.now() - listed)} ms`);
    await fresh.close();
  });
});

describe('the queue page', () => {
  const secret = 'do-not-show-me';
  const board = (path: string) => api.call('GET', `/admin/queues${path}`);

  beforeAll(async () => {
    await api.redis.flushall();
    await worker.report();
    await api.deploy('looked-at');
    await api.deploy('unused');
    const body = { password: secret };
    const headers = { 'x-token': secret };
    await api.invoke('looked-at', body, '?mode=async', headers); // completes
    await api.invoke('looked-at', body, '?mode=async', headers); // fails
    await api.invoke('looked-at', body, '?mode=async', headers); // runs
    await api.invoke('looked-at', body, '?mode=async', headers); // waits
    const one = await worker.take('looked-at');
    if (one) await worker.end(one, json({ secret }));
    const two = await worker.take('looked-at');
    if (two) await worker.end(two, { status: 'failed' });
    await worker.take('looked-at');
  });

  it('is a page, with nothing from elsewhere', async () => {
    const page = await board('');
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
    expect(page.headers['content-security-policy']).toContain("default-src 'self'");
    expect(page.text).not.toMatch(/(?:href|src)="https?:/);
    const script = /src="([^"]*\.js)"/.exec(page.text)?.[1] ?? '';
    const path = new URL(script, 'http://x/admin/queues/').pathname;
    expect((await api.call('GET', path)).status).toBe(200);
    expect((await board('/queue/default%2Flooked-at')).status).toBe(200);
  });

  it('lists the queues that hold a job, by their artifacts', async () => {
    const { queues } = (await board('/api/queues?jobsPerPage=10')).json;
    expect(queues).toMatchObject([
      { name: 'default/looked-at', readOnlyMode: true, counts: { prioritized: 1, active: 1, completed: 0, failed: 1 } },
    ]);
    expect(queues[0].hasWorkers).toBeNull();
  });

  it('shows no payload, header or result on any of its pages', async () => {
    const [failedId = ''] = (await api.redis.zrange('{pilum:default:looked-at}:queue:failed', '0', '-1')) as string[];
    // What a worker writes there: the code alone.
    await api.redis.hset(`{pilum:default:looked-at}:queue:${failedId}`, 'failedReason', 'TASK_TIMEOUT');
    const queue = encodeURIComponent('default/looked-at');
    const list = await board(
      `/api/queues?activeQueue=${encodeURIComponent(queue)}&status=latest&page=1&jobsPerPage=10`,
    );
    const jobs: { id: string; data: unknown }[] = list.json.queues[0].jobs;
    expect(jobs).toHaveLength(3); // what completed is no job any more
    expect(jobs[0]?.data).toMatchObject({ artifactId: 'looked-at', payload: '[redacted]', headers: '[redacted]' });
    const shown = list.json.queues[0].jobs as {
      opts: { priority?: number };
      priority?: number;
      failedReason?: string;
    }[];
    expect(list.text).not.toContain('"priority":6');
    expect(list.text).toContain('"priority":5');
    const reasons = shown.map(({ failedReason }) => failedReason).filter((reason) => reason);
    expect(reasons).toEqual([
      expect.stringMatching(/^TASK_TIMEOUT: .* GET \/v1\/tasks\/looked-at\.[0-9A-Z]{26} says why\.$/),
    ]);
    const texts = [list.text];
    for (const { id } of jobs) {
      for (const path of ['', '/logs', '/flow']) {
        const answer = await board(`/api/queues/${queue}/${id}${path}`);
        if (path === '') expect(answer.status, answer.text).toBe(200);
        texts.push(answer.text);
      }
    }
    for (const path of ['', '/metrics?type=completed', '/default-job-options', '/job-data-schema', '/workers']) {
      texts.push((await board(`/api/queues/${queue}${path}`)).text);
    }
    expect(texts.filter((text) => text.includes(secret))).toEqual([]);
  });

  it.each([
    ['PUT', '/api/queues/pause'],
    ['PUT', '/api/queues/default%2Flooked-at/pause'],
    ['PUT', '/api/queues/default%2Flooked-at/empty'],
    ['PUT', '/api/queues/default%2Flooked-at/obliterate'],
    ['POST', '/api/queues/default%2Flooked-at/add'],
    ['PUT', '/api/queues/default%2Flooked-at/clean/completed'],
    ['PUT', '/api/queues/default%2Flooked-at/retry/failed'],
    ['DELETE', '/api/queues/default%2Flooked-at/x'],
  ])('refuses %s %s', async (method, path) => {
    const answer = await api.call(method, `/admin/queues${path}`, method === 'DELETE' ? {} : { body: {} });
    expect([403, 404]).toContain(answer.status);
    expect(answer.json.error.code).toMatch(/FORBIDDEN|ROUTE_NOT_FOUND/);
    expect((await board('/api/queues?jobsPerPage=10')).json.queues[0].counts).toMatchObject({
      prioritized: 1,
      failed: 1,
    });
  });

  it('is usable with hundreds of queues over one connection, and lets go of those that are gone', async () => {
    const fresh = await startApi({ url: redis.url });
    const ids = Array.from({ length: 300 }, (_, i) => `queue-${i}`);
    for (let i = 0; i < ids.length; i += 50) {
      await Promise.all(
        ids.slice(i, i + 50).map(async (id) => {
          await fresh.deploy(id);
          await fresh.accept(id);
        }),
      );
    }
    const clients = async () => ((await fresh.redis.client('LIST')) as string).trim().split('\n').length;
    const before = await clients();
    const began = performance.now();
    const { queues } = (await fresh.call('GET', '/admin/queues/api/queues?jobsPerPage=10')).json;
    console.log(`queue page of 301 queues: ${Math.round(performance.now() - began)} ms`);
    expect(queues).toHaveLength(301);
    expect(await clients()).toBe(before);
    for (const id of ids)
      await fresh.deps.queues
        .of({ namespace: 'default', artifactId: id })
        .remove(
          (
            await fresh.deps.queues
              .of({ namespace: 'default', artifactId: id })
              .ids(['pending'], { before: null, limit: 1 })
          )[0] ?? '',
        );
    await expect
      .poll(async () => (await fresh.call('GET', '/admin/queues/api/queues?jobsPerPage=10')).json.queues.length, {
        timeout: 60_000,
        interval: 200,
      })
      .toBe(1);
    await fresh.close();
  });
});

describe('the description of the API', () => {
  it('is OpenAPI 3.1, and every reference in it leads somewhere', async () => {
    const { json: page } = await api.call('GET', '/openapi.json');
    expect(page.openapi).toBe('3.1.0');
    const references = [...JSON.stringify(page).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map(
      (match) => match[1],
    );
    expect(new Set(references)).toEqual(new Set(Object.keys(page.components.schemas)));
    for (const [path, methods] of Object.entries<
      Record<string, { summary?: string; tags?: string[]; responses: object }>
    >(page.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        expect(operation.summary, `${method} ${path}`).toBeTruthy();
        expect(operation.tags?.length, `${method} ${path}`).toBe(1);
        expect(Object.keys(operation.responses).length, `${method} ${path}`).toBeGreaterThan(0);
      }
    }
  });

  it('is a page that needs nothing from elsewhere', async () => {
    const page = await api.call('GET', '/docs/');
    expect(page.status).toBe(200);
    expect(page.text).not.toMatch(/(?:src|href)="https?:/);
    expect(page.headers['content-security-policy']).not.toContain('upgrade-insecure-requests');
    for (const [, path] of page.text.matchAll(/(?:src|href)="\.?([^"]+\.(?:js|css))"/g)) {
      expect((await api.call('GET', path?.startsWith('/docs') ? path : `/docs${path}`)).status, path).toBe(200);
    }
    expect((await api.call('GET', '/docs/json')).json.openapi).toBe('3.1.0');
  });
});
