import { setTimeout as sleep } from 'node:timers/promises';
import type { History } from '../history/history.ts';
import type { Caller, Learned } from './caller.ts';
import type { HttpCall } from './http-client.ts';
import type { Plan } from './plan.ts';
import { runStreamErrand } from './stream-errand.ts';

/** Between two tries of a caller that was refused, ms. */
const AGAIN_MS = 250;

/**
 * What one caller does to get one task run, as its plan says:
 *
 *     invoke, perhaps several times with one key → cancel, perhaps → read until it is settled → invoke again, perhaps
 *
 * It ends when the caller has seen the outcome, when it cannot know whether it was accepted, or at `signal`.
 */
export async function runErrand(plan: Plan, caller: Caller, history: History, signal: AbortSignal): Promise<void> {
  const { request, kind, key, cancelAfterMs, afterwards, together, hangsUpAfterMs } = plan;
  history.write({ type: 'request', at: Date.now(), request, kind, key });
  if (kind === 'streamed') return await runStreamErrand(plan, caller, history, signal);
  const invoke = (hangUpAfterMs: number | null = null) =>
    caller.call(request, 'invoke', plan.waitMs, invocationOf(plan), hangUpAfterMs);
  const answers = await Promise.all([invoke(hangsUpAfterMs), ...Array.from({ length: together }, () => invoke())]);
  let learned = answers.find(({ envelope }) => envelope !== null);
  // With a key it can be sent again until it is accepted; without one nobody knows what became of it.
  while (learned === undefined && key !== null && !signal.aborted) {
    await sleep(AGAIN_MS);
    const again = await invoke();
    if (again.envelope !== null) learned = again;
  }
  const taskId = learned?.envelope?.taskId;
  if (learned === undefined || taskId === undefined) return;
  for (let repeat = 0; repeat < afterwards; repeat++) await invoke();
  if (cancelAfterMs !== null) {
    await sleep(cancelAfterMs);
    await cancel(request, taskId, caller, signal);
  }
  if (!learned.isSettled) await readUntilSettled(plan, taskId, caller, signal);
  if (afterwards > 0) await invoke();
}

function invocationOf({ artifact, input, mode, waitMs, options, key }: Plan): Omit<HttpCall, 'giveUpAfterMs'> {
  const query = new URLSearchParams({ ...options, mode, ...(waitMs === null ? {} : { wait: `${waitMs}ms` }) });
  return {
    method: 'POST',
    path: `/v1/artifacts/${artifact}/invoke?${query}`,
    body: JSON.stringify(input),
    headers: key === null ? {} : { 'idempotency-key': key },
  };
}

/** Cancels as a caller does who wants to be sure: until it is told that the task has ended, in whatever way. */
async function cancel(request: number, taskId: string, caller: Caller, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { http } = await caller.call(request, 'cancel', null, { method: 'DELETE', path: `/v1/tasks/${taskId}` });
    if (http !== null && http < 500) return;
    await sleep(AGAIN_MS);
  }
}

/** One read of a task that waits for its outcome. */
export function readTask(caller: Caller, request: number, taskId: string, waitMs: number): Promise<Learned> {
  const query = waitMs === 0 ? '' : `?wait=${waitMs}ms`;
  return caller.call(request, 'read', waitMs, { method: 'GET', path: `/v1/tasks/${taskId}${query}` });
}

async function readUntilSettled(plan: Plan, taskId: string, caller: Caller, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { isSettled, envelope } = await readTask(caller, plan.request, taskId, plan.readWaitMs);
    if (isSettled) return;
    if (envelope === null || plan.readWaitMs === 0) await sleep(AGAIN_MS);
  }
}
