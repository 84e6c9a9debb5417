import { Worker } from 'bullmq';
import { connection } from './bullmq-connection.ts';
import { startSandboxedEchoes } from './sandboxed-echo.ts';
import { untilTold } from './until-told.ts';

/** Floor (c'), worker side: the work is done by the same sandboxed children that Pilum's worker has. */
const { echoes, close } = await startSandboxedEchoes(process.env.DATA ?? '');
const free = [...echoes];
const worker = new Worker(
  'async',
  async (job) => {
    const echo = free.pop();
    if (echo === undefined) throw new Error('more jobs than children');
    try {
      return JSON.parse((await echo(Buffer.from(JSON.stringify(job.data)))).toString('utf8')) as unknown;
    } finally {
      free.push(echo);
    }
  },
  { connection: connection(), concurrency: echoes.length },
);
await worker.waitUntilReady();
untilTold(close);
