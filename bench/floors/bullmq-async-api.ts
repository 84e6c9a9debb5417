import { Queue } from 'bullmq';
import { connection, KEEP } from './bullmq-connection.ts';
import { createServer, serve } from './serve.ts';

/** Floor (c'), API side: a job is added, and the caller does not wait for it. */
const queue = new Queue('async', { connection: connection() });
const app = createServer({ raw: false });
app.post('/', async (request, reply) => {
  const { id } = await queue.add('echo', request.body, KEEP);
  return reply.code(202).send({ id });
});
await serve(app);
