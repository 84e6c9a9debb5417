import type { Redis } from '@pilum/core/redis/connect.ts';
import type { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { principalOf, requireAdmin } from '../guard/principal.ts';
import type { App } from '../http/app-type.ts';
import { readiness } from '../see/health.ts';
import type { Metrics } from '../see/metrics.ts';
import type { LiveWorkers } from '../tasks/live-workers.ts';
import { Instances, Live, NoQuery, Ready, refusals, Text, Workers } from './answers.ts';

export interface HealthRouteParts {
  readonly redis: Redis;
  readonly workers: LiveWorkers;
}

export interface SeeRouteParts {
  readonly registry: WorkerRegistry;
  readonly metrics: Metrics;
}

const tags = ['Operation'];

/** Open to everyone: what asks here has no key, and learns nothing that it could use. */
export function healthRoutes(app: App, { redis, workers }: HealthRouteParts): void {
  app.get(
    '/livez',
    { schema: { tags, summary: 'Whether this process lives', security: [], response: { 200: Live } } },
    async () => ({ live: true }),
  );

  app.get(
    '/readyz',
    {
      schema: {
        tags,
        summary: 'Whether calls can be answered: Redis, live workers',
        security: [],
        response: { 200: Ready, 503: Ready },
      },
    },
    async (_request, reply) => {
      const state = await readiness(redis, workers);
      return reply.code(state.ready ? 200 : 503).send(state);
    },
  );
}

export function seeRoutes(app: App, { registry, metrics }: SeeRouteParts): void {
  app.get(
    '/v1/workers',
    { schema: { tags, summary: 'Live workers', querystring: NoQuery, response: { 200: Workers, ...refusals } } },
    async () => ({ workers: await registry.workers() }),
  );

  app.get(
    '/v1/instances',
    {
      schema: {
        tags,
        summary: 'Live instances of the namespace',
        querystring: NoQuery,
        response: { 200: Instances, ...refusals },
      },
    },
    async (request) => {
      const { namespace } = principalOf(request);
      const instances = await registry.instances();
      return { instances: instances.filter((instance) => instance.namespace === namespace) };
    },
  );

  app.get(
    '/metrics',
    { schema: { tags, summary: 'Figures of all artifacts, for Prometheus', response: { 200: Text, ...refusals } } },
    async (request, reply) => {
      requireAdmin(principalOf(request));
      return reply.type(metrics.contentType).send(await metrics.page());
    },
  );
}
