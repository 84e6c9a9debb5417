import { Redis } from 'ioredis';
import { ANSWERS, pack, QUEUE, unpack } from './list-wire.ts';
import { INSTANCES, startSandboxedEcho } from './sandboxed-echo.ts';
import { untilTold } from './until-told.ts';

/** Floor (e), worker side. Who reads a body or a result removes it: nothing is kept. */
const path = process.env.REDIS_PATH ?? '';
const redis = new Redis({ path, enableAutoPipelining: true });
const { echo, close } = await startSandboxedEcho(process.env.DATA ?? '');
const serve = async (): Promise<never> => {
  const blocking = new Redis({ path });
  for (;;) {
    const popped = await blocking.brpopBuffer(QUEUE, 0);
    if (popped === null) continue;
    const { id } = unpack(popped[1]);
    const body = await redis.getdelBuffer(`body:${id}`);
    if (body === null) throw new Error(`the body of ${id} is gone`);
    await redis.set(`result:${id}`, await echo(body));
    await redis.publish(ANSWERS, pack(id, Buffer.alloc(0)));
  }
};
for (let i = 0; i < INSTANCES; i++) void serve();
untilTold(close);
