import { Redis } from 'ioredis';
import type { Echo } from './echo.ts';
import { ANSWERS, pack, QUEUE, unpack } from './list-wire.ts';

/** Takes from the list for each echo over a connection of its own, which blocks where there is nothing. */
export function serveList(path: string, echoes: readonly Echo[]): void {
  const redis = new Redis({ path, enableAutoPipelining: true });
  const serve = async (echo: Echo): Promise<never> => {
    const blocking = new Redis({ path });
    for (;;) {
      const popped = await blocking.brpopBuffer(QUEUE, 0);
      if (popped === null) continue;
      const { id, bytes } = unpack(popped[1]);
      void redis.publish(ANSWERS, pack(id, await echo(bytes)));
    }
  };
  for (const echo of echoes) void serve(echo);
}
