import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { FRAME_KINDS, packFrame } from '@pilum/core/schemas/frame.ts';
import { OutputStore } from '@pilum/core/store/output-store.ts';
import { beforeAll, expect, it } from 'vitest';
import { TaskOutput } from '../../../apps/worker/src/output/task-output.ts';
import { keep } from '../../support/kept.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { accept, ticketFor } from '../../support/tasks.ts';

let server: TestRedis;
let redis: Redis;
let queues: TaskQueues;

const kept = keep();
beforeAll(async () => {
  server = kept.add(await startRedis());
  redis = kept.add(connect({ url: server.url, name: 'test' }, () => undefined));
  queues = kept.add(new TaskQueues(redis));
});

it.each([
  ['its own', false],
  ['another worker’s', true],
])('output of a task that is %s by the end of it', async (_whose, isTaken) => {
  const ticket = ticketFor('hello', { mode: 'stream' });
  const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
  await accept(queue, ticket);
  const { job } = await queue.fetch('token-1', 'worker-1');
  const output = new TaskOutput({
    store: new OutputStore(redis),
    limits: { logBytes: 1000, windowBytes: 1_000_000, windowFrames: 1000 },
    sender: 'nobody',
    ticket,
    token: 'token-1',
    pacing: null,
  });
  if (isTaken) await redis.set(job?.lockKey ?? '', 'token-2');
  const { bytes } = packFrame(FRAME_KINDS.text, Buffer.from('a chunk'));
  await output.take({ bytes, count: 1 });
  await output.finish();
  expect(output.isSuperseded).toBe(isTaken);
  output.close();
});
