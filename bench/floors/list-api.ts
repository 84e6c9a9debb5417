import { Redis } from 'ioredis';
import { Answers } from './answers.ts';
import { pack, QUEUE } from './list-wire.ts';
import { createServer, serve } from './serve.ts';

/** Floors (b) and (b0), API side: a list as queue, a channel for answers; nothing is recorded, nothing survives. */
const path = process.env.REDIS_PATH ?? '';
const redis = new Redis({ path, enableAutoPipelining: true });
const answers = await Answers.open(path);
const app = createServer({ raw: true });
app.post('/', async (request, reply) => {
  const { id, answer } = answers.expect();
  await redis.lpush(QUEUE, pack(id, request.body as Buffer));
  return reply.type('application/json').send(await answer);
});
await serve(app);
