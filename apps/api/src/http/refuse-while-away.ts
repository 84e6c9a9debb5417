import type { BreakerRedis } from '@pilum/core/redis/breaker-redis.ts';
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify';

/**
 * A hook that refuses requests while Redis counts as away, before their bodies are read: they may be large, and would be
 * read for nothing.
 */
export function refuseWhileAway(redis: BreakerRedis) {
  return (_request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void => {
    if (redis.isAway) done(redis.awayError());
    else done();
  };
}
