import { Queue, QueueEvents } from 'bullmq';
import Fastify from 'fastify';
import { Redis } from 'ioredis';

/** Floor (c), API side: what most people write who use BullMQ. */
const connection = () => new Redis({ path: process.env.REDIS_PATH ?? '', maxRetriesPerRequest: null });
const queue = new Queue('plain', { connection: connection() });
queue.setMaxListeners(0); // waitUntilFinished listens once for every job
const events = new QueueEvents('plain', { connection: connection() });
await events.waitUntilReady();
const app = Fastify({ logger: false });
app.post('/', async (request) => {
  const job = await queue.add('echo', request.body, { removeOnComplete: 1000, removeOnFail: 1000 });
  return { result: await job.waitUntilFinished(events) };
});
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
process.send?.('ready');
process.on('disconnect', () => process.exit(0));
