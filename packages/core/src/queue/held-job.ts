import { randomUUID } from 'node:crypto';
import { parseTicket, type Ticket } from '../schemas/task.ts';
import type { Settlement } from '../store/task-store.ts';

/** A job as a worker holds it: the ticket, and what proves that it is ours to finish. */
export interface HeldJob {
  readonly ticket: Ticket;
  readonly token: string;
  /** The key that holds the token for as long as the job is ours. */
  readonly lockKey: string;
  /** The list that names the job for as long as nobody has put it back in line. */
  readonly activeKey: string;
  /** Number of times that it was taken from a worker that no longer renewed its lock. */
  readonly stalls: number;
  /** Number of times that it was handed to a worker, this time included. */
  readonly handovers: number;
  /** Earliest time at which it was taken, ms since 1970: the message may have been long on its way. */
  readonly takenAtMs: number;
  /** The task is not begun after this moment, ms since 1970. */
  readonly queueDeadlineMs: number;
}

/** The part of a held job that its lock is renewed with. */
export type JobLock = Pick<HeldJob, 'token'> & { readonly ticket: Pick<Ticket, 'taskId'> };

/** The result of looking for a job. */
export interface Fetched {
  /** Null where none may be begun now. */
  readonly job: HeldJob | null;
  /** Time at which the next delayed job falls due, ms since 1970; null where there is none. */
  readonly nextDueAtMs: number | null;
}

/** The end of a job. */
export interface JobEnd {
  readonly settlement: Settlement;
  /** Reason that Bull Board shows; null where the task completed. */
  readonly failure: string | null;
  /** For the slot that the job used; null where it is to have no other job of this queue now. */
  readonly next: {
    /** A new one, for the next job, or else for the offer. */
    readonly token: string;
    /** Worker that takes it, for Bull Board to show. */
    readonly workerId: string;
    /** Whether the slot is offered where there is no job for it. */
    readonly offer: boolean;
  } | null;
}

/** The result of ending a job. */
export interface Ended extends Fetched {
  /** The outcome that the task had before, as it stands in Redis; false where it has got this one. */
  readonly standing: unknown;
  /**
   * Whether the job was the worker's still. One that is not stays as it is, and another for its slot may have been handed
   * over: its message may follow.
   */
  readonly wasOurs: boolean;
  /** Whether the slot is offered now. */
  readonly offered: boolean;
}

/** The fate of an offer that is recalled: `unknown` is one that was taken a moment ago, or that Redis has lost. */
export type Recalled = 'recalled' | 'unknown' | HeldJob;

/** A job as the scripts give it: id, data, options, stalls, handovers. */
export type JobFields = readonly [string, string, string | null, string | null, number | string];

/** Makes a held job of what a script has given. */
export function heldJob(fields: JobFields, token: string, jobPrefix: string): HeldJob {
  const [, data, options, stalls, handovers] = fields;
  const ticket = parseTicket(data);
  const { queueDeadlineMs } = JSON.parse(options ?? '{}') as { queueDeadlineMs?: number };
  return {
    ...justHanded(ticket, token, jobPrefix),
    stalls: Number(stalls ?? 0),
    handovers: Number(handovers),
    ...(queueDeadlineMs === undefined ? {} : { queueDeadlineMs }),
  };
}

/** A job that was never held before. */
export function justHanded(ticket: Ticket, token: string, jobPrefix: string): HeldJob {
  return {
    ticket,
    token,
    lockKey: `${jobPrefix}${ticket.taskId}:lock`,
    activeKey: `${jobPrefix}active`,
    stalls: 0,
    handovers: 1,
    takenAtMs: ticket.acceptedAtMs,
    queueDeadlineMs: ticket.dueAtMs + ticket.queueMs,
  };
}

/** A job that was handed over for an offered slot: `<token> <namespace>/<artifactId> <ticket JSON>`. */
export function parseHandOver(message: string): { token: string; qualified: string; data: string } {
  const first = message.indexOf(' ');
  const second = message.indexOf(' ', first + 1);
  return {
    token: message.slice(0, first),
    qualified: message.slice(first + 1, second),
    data: message.slice(second + 1),
  };
}

/** Names the slots of one worker process, each time anew: with such a token a job is locked, or a slot offered. */
export class SlotTokens {
  /** The channel on which it is handed jobs ends with this. */
  readonly workerProcess: string;
  #last = 0;

  constructor(workerId: string) {
    // Another one for a worker that starts again under its old name: what it had offered before is nobody's.
    this.workerProcess = `${workerId}~${randomUUID().slice(0, 8)}`;
  }

  next(): string {
    return `${this.workerProcess}:${++this.#last}`;
  }
}
