import type { BreakerRedis } from '@pilum/core/redis/breaker-redis.ts';
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify';

/** Makes a hook that refuses requests while Redis counts as away, before their large bodies are read in vain. */
export function refuseWhileAway(redis: BreakerRedis) {
  return (_request: FastifyRequest, _reply: FastifyReply, done: HookHandlerDoneFunction): void => {
    if (redis.isAway) done(redis.awayError());
    else done();
  };
}
