import { connect } from '@pilum/core/redis/connect.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { expect, it, onTestFinished } from 'vitest';
import { startRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const fail = (error: unknown) => {
  throw error;
};

it('a gap is told when messages are heard again, also where the connection was there before its subscriber', async () => {
  const server = await startRedis();
  const [redis, other] = ['messages', 'other'].map((name) => connect({ url: server.url, name }, () => undefined));
  if (redis === undefined || other === undefined) throw new Error('no connections');
  onTestFinished(async () => {
    redis.disconnect();
    other.disconnect();
    await server.close();
  });
  await waitFor(() => redis.status === 'ready', { what: 'a connection' });
  const subscriber = new Subscriber(redis, fail);
  const heard: string[] = [];
  await subscriber.subscribe('news', (message) => heard.push(message));
  let listeners = 0;
  subscriber.onGap(() => {
    // In the moment of the call, not some time after it.
    other.publish('news', 'after the gap').then((count) => {
      listeners = count as number;
    }, fail);
  });
  await other.client('KILL', 'ID', await clientId());
  await waitFor(() => heard.length > 0, { what: 'a message after the gap' });
  expect([heard, listeners]).toEqual([['after the gap'], 1]);

  async function clientId(): Promise<string> {
    const list = (await other?.client('LIST')) as string;
    return /^id=(\d+) .* name=messages /m.exec(list)?.[1] ?? '';
  }
});
