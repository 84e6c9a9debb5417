/**
 * The thread that renews a worker's locks, so that a busy main loop loses none, and that watches the main loop: where
 * that shows no life its locks are let go, and where it hangs the process is ended. Started by lock-keeper.ts.
 */
import { write } from 'node:fs';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { LOCK_RENEWAL_MS } from '@pilum/core/queue/lock-times.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect } from '@pilum/core/redis/connect.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import { pino } from 'pino';
import { LockRenewer } from './lock-renewer.ts';
import {
  type FromLockThread,
  type LockThreadData,
  MAIN_LIFE,
  THREAD_LIFE,
  type ThreadLock,
  type ToLockThread,
} from './lock-wire.ts';
import { HUNG_MS, LIFE_INTERVAL_MS, SILENT_MS, Watchdog } from './watchdog.ts';

/** The last line is given this long to be written, ms: where standard output is stuck the process ends without it. */
const LAST_LINE_MS = 500;

function run(keeper: MessagePort, { redisUrl, redisTls, workerId, logLevel, life }: LockThreadData) {
  const counters = new Int32Array(life);
  const mainLife = () => Atomics.load(counters, MAIN_LIFE);
  const say = (message: FromLockThread) => keeper.postMessage(message);
  // What is wrong with the connection the main loop says of its own.
  const redis = connect({ url: redisUrl, tls: redisTls, name: `pilum-worker-${workerId}-locks` }, () => undefined);
  const queues = new TaskQueues(redis);
  const locks = new Locks(queues);
  const renewer = new LockRenewer<ThreadLock>(
    (refused) => {
      const ids = refused.map(({ id }) => id);
      locks.remove(ids);
      say({ kind: 'refused', ids });
    },
    (error) => say({ kind: 'failed', message: error instanceof Error ? error.message : String(error) }),
  );
  const watch = new Watchdog(mainLife(), performance.now());
  let unanswered = false;
  let ending = false;

  const renew = async () => {
    if (renewer.isRenewing) {
      if (!unanswered) say({ kind: 'unanswered' });
      unanswered = true;
      return;
    }
    if (watch.silentMs > SILENT_MS || locks.size === 0) return;
    await renewer.renew(locks.byQueue());
    if (unanswered) say({ kind: 'answered' });
    unanswered = false;
  };
  const look = () => {
    Atomics.add(counters, THREAD_LIFE, 1);
    watch.look(mainLife(), performance.now());
    if (watch.watchedSilenceMs < HUNG_MS || ending) return;
    ending = true;
    endProcess(logLevel, watch.watchedSilenceMs);
  };
  const timers = [setInterval(look, LIFE_INTERVAL_MS), setInterval(() => void renew(), LOCK_RENEWAL_MS)];

  keeper.on('message', (message: ToLockThread) => {
    if (message.kind === 'close') {
      for (const timer of timers) clearInterval(timer);
      redis.disconnect();
      keeper.close();
      return;
    }
    locks.remove(message.removed);
    locks.add(message.added);
    if (!message.isLate) return;
    look();
    void renew();
  });
  say({ kind: 'ready' });
}

/** Ends the process, and with it its sandboxes: whoever looks after it starts it again. The main loop cannot say why. */
function endProcess(logLevel: string, silenceMs: number): void {
  const kill = () => process.kill(process.pid, 'SIGKILL');
  setTimeout(kill, LAST_LINE_MS);
  // A worker thread's own standard output goes through the main loop, which hangs.
  const logger = pino({ name: 'worker', level: logLevel }, { write: (line: string) => write(1, line, kill) });
  logEvent(logger, 'loop-hangs', { silenceMs: Math.round(silenceMs) });
}

/** The locks that the main loop has told of, by queue. */
class Locks {
  readonly #queues: TaskQueues;
  readonly #locks = new Map<number, ThreadLock>();

  constructor(queues: TaskQueues) {
    this.#queues = queues;
  }

  get size(): number {
    return this.#locks.size;
  }

  add(locks: readonly ThreadLock[]): void {
    for (const lock of locks) this.#locks.set(lock.id, lock);
  }

  remove(ids: readonly number[]): void {
    for (const id of ids) this.#locks.delete(id);
  }

  byQueue(): Map<TaskQueue, ThreadLock[]> {
    const groups = Map.groupBy(this.#locks.values(), qualifiedId);
    return new Map([...groups.values()].map((locks) => [this.#queues.of(locks[0] as ThreadLock), locks]));
  }
}

run(parentPort as MessagePort, workerData as LockThreadData);
