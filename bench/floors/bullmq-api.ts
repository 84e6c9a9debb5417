import { Queue, QueueEvents } from 'bullmq';
import { connection, KEEP } from './bullmq-connection.ts';
import { createServer, serve } from './serve.ts';

/** Floor (c), API side: what most people write who use BullMQ and wait for the result. */
const queue = new Queue('plain', { connection: connection() });
queue.setMaxListeners(0); // waitUntilFinished listens once for every job
const events = new QueueEvents('plain', { connection: connection() });
await events.waitUntilReady();
const app = createServer({ raw: false });
app.post('/', async (request) => {
  const job = await queue.add('echo', request.body, KEEP);
  return { result: await job.waitUntilFinished(events) };
});
await serve(app);
