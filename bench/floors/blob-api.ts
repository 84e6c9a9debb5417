import { Redis } from 'ioredis';
import { Answers } from './answers.ts';
import { pack, QUEUE } from './list-wire.ts';
import { createServer, serve } from './serve.ts';

/** Floor (e), API side: as (b), but body and result lie beside list and channel, as raw bytes under their own keys. */
const path = process.env.REDIS_PATH ?? '';
const redis = new Redis({ path, enableAutoPipelining: true });
const answers = await Answers.open(path);
const app = createServer({ raw: true });
app.post('/', async (request, reply) => {
  const { id, answer } = answers.expect();
  await redis.set(`body:${id}`, request.body as Buffer);
  await redis.lpush(QUEUE, pack(id, Buffer.alloc(0)));
  await answer;
  return reply.type('application/json').send(await redis.getdelBuffer(`result:${id}`));
});
await serve(app);
