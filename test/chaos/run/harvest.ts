import { setTimeout as sleep } from 'node:timers/promises';
import type { Envelope } from '@pilum/core/schemas/task.ts';
import { SETTLED_STATUSES } from '@pilum/core/states/states.ts';
import type { History } from '../history/history.ts';
import type { Caller } from '../load/caller.ts';
import { readTask } from '../load/errand.ts';
import type { HttpClient } from '../load/http-client.ts';
import { recoveriesIn } from '../parts/statements.ts';

/** How long after the end of the load a task may still take to be settled, ms. */
const SETTLE_LIMIT_MS = 120_000;
/** Between the two last reads of each task, ms. */
const BETWEEN_READS_MS = 5000;
const CONCURRENCY = 16;

const settledStatuses: ReadonlySet<string> = new Set(SETTLED_STATUSES);

export interface HarvestParts {
  readonly client: HttpClient;
  readonly caller: Caller;
  readonly history: History;
}

/**
 * Reads every task twice, a while apart, when it is settled, and writes down what Pilum has on record of it, with the
 * reasons that stand in its log.
 * @param tasks task ids and their requests
 */
export async function harvest(
  parts: HarvestParts,
  tasks: ReadonlyMap<string, number>,
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + SETTLE_LIMIT_MS;
  await inParallel([...tasks], signal, async ([taskId, request]) => {
    for (;;) {
      const { isSettled, envelope, http } = await readTask(parts.caller, request, taskId, 0);
      if (isSettled || signal.aborted || Date.now() > deadline) return await record(parts, taskId, http, envelope);
      await sleep(500);
    }
  });
  await sleep(BETWEEN_READS_MS);
  await inParallel([...tasks], signal, async ([taskId, request]) => {
    await readTask(parts.caller, request, taskId, 0);
  });
}

async function record(
  { client, history }: HarvestParts,
  taskId: string,
  http: number | null,
  envelope: (Envelope & { readonly attempts?: readonly unknown[] }) | null,
): Promise<void> {
  const msOf = (time: string | null | undefined) => (time == null ? null : Date.parse(time));
  history.write({
    type: 'record',
    at: Date.now(),
    taskId,
    http,
    status: envelope?.status ?? null,
    attempts: Math.max(envelope?.attempt ?? 0, envelope?.attempts?.length ?? 0),
    recoveries: envelope?.recoveries ?? 0,
    createdAtMs: msOf(envelope?.createdAt),
    finishedAtMs: msOf(envelope?.finishedAt),
  });
  if (envelope === null || !settledStatuses.has(envelope.status)) return;
  const path = `/v1/tasks/${taskId}/logs?format=json`;
  const log = await client.call({ method: 'GET', path, giveUpAfterMs: 10_000 });
  if (log.http !== 200) return;
  for (const said of recoveriesIn(taskId, log.text)) history.write(said);
}

async function inParallel<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const line = async () => {
    while (next < items.length && !signal.aborted) await work(items[next++] as T);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, line));
}
