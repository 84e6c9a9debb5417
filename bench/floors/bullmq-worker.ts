import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

/** Floor (c), worker side: no isolation, the work is an echo in this process. */
const worker = new Worker('plain', (job) => Promise.resolve(job.data), {
  connection: new Redis({ path: process.env.REDIS_PATH ?? '', maxRetriesPerRequest: null }),
  concurrency: 64,
});
await worker.waitUntilReady();
process.send?.('ready');
process.on('disconnect', () => process.exit(0));
