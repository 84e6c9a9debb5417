import type { RouteOptions } from 'fastify';
import { beforeAll, describe, expect, it } from 'vitest';
import { requireDeclared, undeclared } from '../../apps/api/src/observability/route-rules.ts';
import { keep } from '../support/kept.ts';
import { startRedis } from '../support/redis.ts';
import { startApi } from './support/api.ts';

let routes: readonly RouteOptions[];
const kept = keep();
beforeAll(async () => {
  const redis = kept.add(await startRedis());
  routes = kept.add(await startApi({ url: redis.url })).app.declaredRoutes;
});

const needOf = (url: string) => routes.find((route) => route.url === url)?.config?.needs;

describe('every route of the app', () => {
  it('declares what it needs, and what stands about it in the API document', () => {
    expect(undeclared(routes)).toEqual([]);
  });

  it('is looked at, the pages of libraries too', () => {
    expect(needOf('/v1/artifacts/:id/invoke')).toBe('functions:call');
    expect(needOf('/fn/:id/*')).toBe('functions:call');
    expect(needOf('/metrics')).toBe('metrics:read');
    expect(needOf('/docs/json')).toBe('docs:read');
    expect(needOf('/docs/static/*')).toBe('docs:read');
    expect(needOf('/openapi.json')).toBe('docs:read');
    expect(needOf('/admin/queues/api/queues')).toBe('queues:read');
    expect(needOf('/admin/queues/static/*')).toBe('queues:read');
    const withoutKey = routes.filter(({ config }) => config?.needs === 'nothing').map(({ url }) => url);
    expect([...new Set(withoutKey)].sort()).toEqual(['/livez', '/readyz']);
    const bySpec = routes.filter(({ config }) => config?.isAdmittedBySpec === true).map(({ url }) => url);
    expect([...new Set(bySpec)].sort()).toEqual(['/fn/:id', '/fn/:id/*']);
  });
});

describe('an incomplete declaration', () => {
  const schema = { tags: ['Tasks'], summary: 'A route', response: { 200: {} } };
  const whole = { method: 'GET', url: '/x', config: { needs: 'tasks:read' as const }, schema };

  it.each([
    ['config.needs', { ...whole, config: {} }],
    ['config.needs', { ...whole, config: { needs: 'tasks:typo' as 'tasks:read' } }],
    ['config.needs', { ...whole, config: {}, schema: { hide: true } }],
    ['schema.tags', { ...whole, schema: { ...schema, tags: [] } }],
    ['Strems', { ...whole, schema: { ...schema, tags: ['Strems'] } }],
    ['schema.summary', { ...whole, schema: { ...schema, summary: ' ' } }],
    ['successful answer', { ...whole, schema: { ...schema, response: { '4xx': {} } } }],
    ['successful answer', { ...whole, schema: { tags: ['Tasks'], summary: 'A route' } }],
  ])('without %s is named, and keeps the app from starting', (missing, route) => {
    expect(undeclared([whole, route])).toEqual([expect.stringContaining(missing)]);
    expect(() => requireDeclared([whole, route])).toThrow(/GET \/x/);
  });

  it('is a hidden route’s only without a need', () => {
    expect(undeclared([{ ...whole, schema: { hide: true } }])).toEqual([]);
  });
});
