import { Redis } from 'ioredis';
import type { Echo } from './echo.ts';
import { ANSWERS, pack, QUEUE, unpack } from './list-wire.ts';

/** Takes from the list over so many connections, which block where there is nothing, and does as many at once. */
export function serveList(path: string, echo: Echo, connections: number): void {
  const redis = new Redis({ path, enableAutoPipelining: true });
  const serve = async (): Promise<never> => {
    const blocking = new Redis({ path });
    for (;;) {
      const popped = await blocking.brpopBuffer(QUEUE, 0);
      if (popped === null) continue;
      const { id, bytes } = unpack(popped[1]);
      void redis.publish(ANSWERS, pack(id, await echo(bytes)));
    }
  };
  for (let i = 0; i < connections; i++) void serve();
}
