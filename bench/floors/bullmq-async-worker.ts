import { Worker } from 'bullmq';
import { connection } from './bullmq-connection.ts';
import { INSTANCES, startSandboxedEcho } from './sandboxed-echo.ts';
import { untilTold } from './until-told.ts';

/** Floor (c'), worker side: the work is done by the same sandboxed children that Pilum's worker has. */
const { echo, close } = await startSandboxedEcho(process.env.DATA ?? '');
const worker = new Worker(
  'async',
  async (job) => JSON.parse((await echo(Buffer.from(JSON.stringify(job.data)))).toString('utf8')) as unknown,
  { connection: connection(), concurrency: INSTANCES },
);
await worker.waitUntilReady();
untilTold(close);
