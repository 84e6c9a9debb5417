import { InstanceError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import type { RedisWatch } from '@pilum/core/redis/redis-watch.ts';
import { InstanceInfo, WorkerInfo } from '@pilum/core/schemas/worker.ts';
import type { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { Type } from 'typebox';
import type { App } from '../http/app-type.ts';
import { readiness } from '../observability/health.ts';
import type { Metrics } from '../observability/metrics.ts';
import type { LiveWorkers } from '../workers/live-workers.ts';
import { Instances, Live, NoQuery, Ready, refusals, strictObject, Text, Workers } from './http-shapes.ts';

export interface HealthRouteDeps {
  readonly redis: Redis;
  readonly workers: LiveWorkers;
  readonly redisWatch: RedisWatch;
}

export interface ObservabilityRouteDeps {
  readonly registry: WorkerRegistry;
  readonly metrics: Metrics;
}

const tags = ['Operation'];

/** Adds the health checks, which need no key and reveal nothing of use to a stranger. */
export function healthRoutes(app: App, { redis, workers, redisWatch }: HealthRouteDeps): void {
  app.get(
    '/livez',
    {
      config: { needs: 'nothing' },
      schema: {
        tags,
        summary: 'Check that this process lives',
        response: { 200: Live, '4xx': refusals['4xx'] },
      },
    },
    async () => ({ live: true }),
  );

  app.get(
    '/readyz',
    {
      config: { needs: 'nothing' },
      schema: {
        tags,
        summary: 'Check that calls can be answered: Redis, live workers',
        response: { 200: Ready, '4xx': refusals['4xx'], 503: Ready },
      },
    },
    async (_request, reply) => {
      const state = await readiness(redis, workers, redisWatch.problems);
      return reply.code(state.ready ? 200 : 503).send(state);
    },
  );
}

export function observabilityRoutes(app: App, { registry, metrics }: ObservabilityRouteDeps): void {
  app.get(
    '/v1/workers',
    {
      config: { needs: 'workers:read' },
      schema: { tags, summary: 'Live workers', querystring: NoQuery, response: { 200: Workers, ...refusals } },
    },
    async () => ({ workers: await registry.workers() }),
  );

  app.get(
    '/v1/instances',
    {
      config: { needs: 'instances:read' },
      schema: {
        tags,
        summary: 'Live instances of the namespace',
        querystring: NoQuery,
        response: { 200: Instances, ...refusals },
      },
    },
    async (request) => {
      const { namespace } = request.principal;
      const instances = await registry.instances();
      return { instances: instances.filter((instance) => instance.namespace === namespace) };
    },
  );

  app.delete(
    '/v1/instances/:instanceId',
    {
      config: { needs: 'instances:write' },
      schema: {
        tags,
        summary: 'Stop an instance',
        description: 'An idle instance stops at once, a busy one after its task. Another starts when it is needed.',
        params: strictObject({ instanceId: Type.String({ maxLength: 128 }) }),
        querystring: NoQuery,
        response: { 202: InstanceInfo, ...refusals },
      },
    },
    async (request, reply) => {
      const { namespace } = request.principal;
      const { instanceId } = request.params;
      const instance = (await registry.instances()).find((candidate) => candidate.instanceId === instanceId);
      const isOurs = instance?.namespace === namespace;
      if (!isOurs || !(await registry.tell(instance.workerId, { order: 'stop-instance', instanceId }))) {
        throw new InstanceError('INSTANCE_NOT_FOUND', { details: { instanceId } });
      }
      return reply.code(202).send(instance);
    },
  );

  app.post(
    '/v1/workers/:workerId/drain',
    {
      config: { needs: 'workers:write' },
      schema: {
        tags,
        summary: 'Drain a worker',
        description:
          'The worker takes no further tasks, finishes the running ones, however long they take, and exits with 0.',
        params: strictObject({ workerId: Type.String({ maxLength: 128 }) }),
        querystring: NoQuery,
        response: { 202: WorkerInfo, ...refusals },
      },
    },
    async (request, reply) => {
      const { workerId } = request.params;
      const worker = (await registry.workers()).find((candidate) => candidate.workerId === workerId);
      if (worker === undefined || !(await registry.tell(workerId, { order: 'drain' }))) {
        throw new RuntimeError('WORKER_NOT_FOUND', { details: { workerId } });
      }
      return reply.code(202).send({ ...worker, draining: true });
    },
  );

  app.get(
    '/metrics',
    {
      config: { needs: 'metrics:read' },
      schema: { tags, summary: 'Metrics of all artifacts for Prometheus', response: { 200: Text, ...refusals } },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.page()),
  );
}
