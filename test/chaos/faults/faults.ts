import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultKind } from '../history/events.ts';
import { blockEventLoop } from '../parts/block-event-loop.ts';
import type { Cluster, Place, WorkerPlace } from '../parts/cluster.ts';
import type { Random } from '../run/random.ts';

/** A fault that has struck. */
export interface Struck {
  /** What it has hit. */
  readonly target: string;
  /** Resolves when the harm is over: what was away is there again. */
  readonly over: Promise<void>;
}

/** Makes one fault happen; resolves when it has struck. */
type Strike = (cluster: Cluster, random: Random) => Promise<Struck>;

/** A place that no other fault is at, with a process in it. */
async function hit<P extends Place>(places: readonly P[], random: Random): Promise<P> {
  for (;;) {
    const free = places.filter(({ part, isHit }) => !isHit && part !== undefined && !part.hasEnded);
    if (free.length > 0) {
      const place = random.pick(free);
      place.isHit = true;
      return place;
    }
    await sleep(50);
  }
}

function untilOver(place: Place, over: Promise<void>): Promise<void> {
  return over.finally(() => {
    place.isHit = false;
  });
}

const kill =
  (placesOf: (cluster: Cluster) => readonly Place[]): Strike =>
  async (cluster, random) => {
    const place = await hit(placesOf(cluster), random);
    const target = place.part?.name ?? '';
    const pauseMs = random.between(0, 1000);
    await place.part?.kill();
    const over = sleep(pauseMs).then(() => cluster.startIn(place));
    return { target, over: untilOver(place, over) };
  };

/** Not to run for a while, and then to go on as if nothing had been. */
const stop: Strike = async (cluster, random) => {
  const place = await hit(cluster.workers, random);
  const { part } = place;
  const forMs = random.between(12_000, 20_000);
  part?.signal('SIGSTOP');
  const over = sleep(forMs).then(() => part?.signal('SIGCONT'));
  return { target: `${part?.name} for ${forMs} ms`, over: untilOver(place, over) };
};

const block: Strike = async (cluster, random) => {
  const place: WorkerPlace = await hit(cluster.workers, random);
  const { part, inspectorPort } = place;
  const forMs = random.between(6000, 20_000);
  const over = blockEventLoop(() => part?.signal('SIGUSR1'), inspectorPort, forMs);
  return { target: `${part?.name} for ${forMs} ms`, over: untilOver(place, over) };
};

const killRedis: Strike = async (cluster, random) => {
  const forMs = random.between(1000, 3000);
  await cluster.redis.kill();
  return { target: `redis for ${forMs} ms`, over: sleep(forMs).then(() => cluster.restartRedis()) };
};

const cutConnections: Strike = async (cluster) => {
  cluster.proxy.cut();
  return { target: 'all connections', over: Promise.resolve() };
};

const dropReplies: Strike = async (cluster, random) => {
  const forMs = random.between(1000, 3000);
  cluster.proxy.dropReplies();
  return { target: `all replies for ${forMs} ms`, over: sleep(forMs).then(() => cluster.proxy.passReplies()) };
};

/** Every process is asked to stop and is followed by another, one after the other. */
const rollingRestart: Strike = async (cluster, random) => {
  const places = random.shuffled([...cluster.workers, ...cluster.apis]);
  const restartAll = async () => {
    for (const place of places) {
      await hit([place], random);
      await untilOver(place, cluster.restart(place));
    }
  };
  return { target: 'all workers and APIs', over: restartAll() };
};

/** All faults. */
export const STRIKES: Readonly<Record<FaultKind, Strike>> = {
  'worker-kill': kill((cluster) => cluster.workers),
  'worker-stop': stop,
  'worker-block': block,
  'api-kill': kill((cluster) => cluster.apis),
  'redis-kill': killRedis,
  'connections-cut': cutConnections,
  'replies-dropped': dropReplies,
  'rolling-restart': rollingRestart,
};
