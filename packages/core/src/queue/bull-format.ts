import type { Ticket } from '../schemas/task.ts';

// How BullMQ 6 writes jobs down, as far as our scripts do it themselves.

/** In BullMQ's set of prioritized jobs each priority has so many scores (`getPriorityScore`). */
export const PRIORITY_SCORE = 0x100000000;

/** Ours begin at 0, which to BullMQ is none. */
export const bullPriority = (priority: number) => priority + 1;

/** The reverse of {@link bullPriority}. */
export const priorityOf = (counted: number) => counted - 1;

/** In BullMQ's set of delayed jobs each millisecond has so many scores (`getDelayedScore`). */
export const DELAYED_SCORE_PER_MS = 4096;

/** Packs a job's options: BullMQ's own, and the queue wait where scripts find it without reading the ticket. */
export function jobOptions({ taskId, dueAtMs, queueMs }: Ticket): string {
  return JSON.stringify({ jobId: taskId, queueMs, queueDeadlineMs: dueAtMs + queueMs });
}

const LOCK_MISSING = -2;
/** BullMQ's codes for a job that is missing, has no lock, is not active, or has another's lock (`finishedErrors`). */
const NOT_OURS: ReadonlySet<number> = new Set([-1, LOCK_MISSING, -3, -6]);

const codeOf = (error: unknown) => (error instanceof Error ? (error as { code?: unknown }).code : undefined);

/** Whether a job could not be put off or given back because it is gone, or another worker's by now. */
export const isNotOurs = (error: unknown) => NOT_OURS.has(codeOf(error) as number);

/** Whether it could not because its lock has run out. */
export const isLockMissing = (error: unknown) => codeOf(error) === LOCK_MISSING;
