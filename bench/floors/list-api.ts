import Fastify from 'fastify';
import { Redis } from 'ioredis';

/** Floor (b), API side: a list as queue, a channel for answers; nothing is recorded, nothing survives a crash. */
const path = process.env.REDIS_PATH ?? '';
const redis = new Redis({ path, enableAutoPipelining: true });
const subscriber = new Redis({ path });
const waiting = new Map<string, (result: string) => void>();
let next = 0;
await subscriber.subscribe('answers');
subscriber.on('message', (_channel, message: string) => {
  const space = message.indexOf(' ');
  const id = message.slice(0, space);
  waiting.get(id)?.(message.slice(space + 1));
  waiting.delete(id);
});
const app = Fastify({ logger: false });
app.post('/', async (request) => {
  const id = String(next++);
  const answer = new Promise<string>((resolve) => waiting.set(id, resolve));
  await redis.lpush('queue', `${id} ${JSON.stringify(request.body)}`);
  return { result: JSON.parse(await answer) };
});
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
process.send?.('ready');
process.on('disconnect', () => process.exit(0));
