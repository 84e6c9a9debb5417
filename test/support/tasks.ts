import type { Ended, HeldJob } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { identityOf, type Outcome, type Ticket } from '@pilum/core/schemas/task.ts';
import type { SettledStatus } from '@pilum/core/states/states.ts';
import type { Beside, TaskStore } from '@pilum/core/store/task-store.ts';
import { monotonicFactory } from 'ulid';

const ulid = monotonicFactory();

/** A ticket as the dispatcher makes it, for a new task. */
export function ticketFor(artifactId: string, changes: Partial<Ticket> = {}): Ticket {
  const now = Date.now();
  return {
    taskId: `${artifactId}.${ulid()}`,
    namespace: 'default',
    artifactId,
    version: 1,
    digest: null,
    mode: 'sync',
    acceptedAtMs: now,
    dueAtMs: now,
    queueMs: 60_000,
    attempt: 1,
    maxAttempts: 1,
    priority: 5,
    runTimeoutMs: 10_000,
    replyTo: null,
    contentType: 'application/json',
    keyed: false,
    headers: {},
    payload: { encoding: 'utf8', data: '{"a":1}' },
    ...changes,
  };
}

/** An outcome as a worker makes it. */
export function outcomeFor(ticket: Ticket, options: { status: SettledStatus }): Outcome {
  const { acceptedAtMs } = ticket;
  return {
    ...identityOf(ticket),
    status: options.status,
    ...(options.status === 'completed'
      ? { result: { contentType: 'application/json', sizeBytes: 1, encoding: 'utf8' as const, data: '1' } }
      : { error: { code: 'FUNCTION_FAILED' as const, message: 'it failed' } }),
    attempt: 1,
    recoveries: 0,
    workerId: 'worker-1',
    instanceId: 'instance-1',
    startedAtMs: acceptedAtMs + 1,
    finishedAtMs: acceptedAtMs + 3,
    startMs: 0.5,
    runMs: 1.5,
    queuedMs: 1,
    coldStart: false,
  };
}

/** Accepts a task as the API does, with room for any backlog. */
export async function accept(queue: TaskQueue, ticket: Ticket, payload: Buffer | null = null): Promise<void> {
  await queue.accept(ticket, { limits: { tasks: 1_000_000, bytes: 1e12 }, payload, notAfterMs: null });
}

/** Ends a task and its job as a worker does that takes no other for the slot. */
export async function end(
  queue: TaskQueue,
  tasks: TaskStore,
  job: HeldJob,
  outcome: Outcome,
  beside: Beside = {},
): Promise<Ended> {
  const failure = outcome.status === 'completed' ? null : 'failed';
  return await queue.end(job, { settlement: tasks.settlement(job.ticket, outcome, beside), failure, next: null });
}
