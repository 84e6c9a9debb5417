import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';

let redis: TestRedis;
let api: TestApi;
beforeAll(async () => {
  redis = await startRedis();
  api = await startApi({ url: redis.url });
});
afterAll(async () => {
  await api?.close();
  await redis?.close();
});

/** A path with something that may stand in it. */
const filled = (path: string) =>
  path
    .replace('{taskId}', 'some.01J8ZQ5V7N3K4M6P8R9S0T1V2W')
    .replace('{digest}', `sha256:${'0'.repeat(64)}`)
    .replace('{version}', '1')
    .replaceAll(/\{[A-Za-z]+\}/g, 'some');

describe('a body', () => {
  it('is refused by name on every route that takes none', async () => {
    const { paths } = (await api.call('GET', '/openapi.json')).json;
    const routes = Object.entries(paths as Record<string, Record<string, { requestBody?: unknown }>>)
      .flatMap(([path, methods]) => Object.entries(methods).map(([method, route]) => ({ path, method, route })))
      .filter(({ path, route }) => route.requestBody === undefined && !path.startsWith('/fn/'));
    expect(routes.length).toBeGreaterThan(15);
    for (const { path, method } of routes) {
      const answer = await api.call(method.toUpperCase(), filled(path), { body: { version: 2 } });
      expect([path, method, answer.status]).toEqual([path, method, 400]);
      expect(answer.json.error.message).toContain(`/body is not taken here: ${method.toUpperCase()} ${path} has none`);
    }
  });

  it('that is empty is none', async () => {
    const headers = { 'content-length': '0', 'content-type': 'application/json' };
    expect((await api.call('GET', '/v1/tasks', { headers })).status).toBe(200);
    expect((await api.call('GET', '/livez', { headers })).status).toBe(200);
    const retry = await api.call('POST', filled('/v1/tasks/{taskId}/retry'), { headers });
    expect(retry.json.error.code).toBe('TASK_NOT_FOUND');
  });
});
