import { Redis } from 'ioredis';

/** Floor (b), worker side: several connections that block on the list; the work is an echo in this process. */
const path = process.env.REDIS_PATH ?? '';
const redis = new Redis({ path, enableAutoPipelining: true });
async function serve(): Promise<never> {
  const blocking = new Redis({ path });
  for (;;) {
    const popped = await blocking.brpop('queue', 0);
    const message = popped?.[1] ?? '';
    const space = message.indexOf(' ');
    const event = JSON.parse(message.slice(space + 1)) as unknown;
    void redis.publish('answers', `${message.slice(0, space)} ${JSON.stringify(event)}`);
  }
}
for (let i = 0; i < 8; i++) void serve();
process.send?.('ready');
process.on('disconnect', () => process.exit(0));
