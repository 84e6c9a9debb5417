import { Worker } from 'bullmq';
import { connection } from './bullmq-connection.ts';
import { untilTold } from './until-told.ts';

/** Floor (c), worker side: no isolation, the work is an echo in this process. */
const worker = new Worker('plain', (job) => Promise.resolve(job.data), { connection: connection(), concurrency: 64 });
await worker.waitUntilReady();
untilTold();
