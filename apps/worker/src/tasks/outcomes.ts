import { isUtf8 } from 'node:buffer';
import type { ErrorData } from '@pilum/core/errors/pilum-error.ts';
import {
  identityOf,
  type NetworkUse,
  type Outcome,
  type StoredResult,
  type Ticket,
  waitOf,
} from '@pilum/core/schemas/task.ts';
import type { SettledStatus } from '@pilum/core/states/states.ts';
import { INLINE_LIMIT_BYTES } from '@pilum/core/store/task-store.ts';
import type { CallResult } from '../runtimes/contract/runtime.ts';
import { isRetryable } from './retry.ts';

/** The facts of a task's run when it ends; all times in ms. */
export interface RunFacts {
  readonly workerId: string;
  readonly instanceId: string | null;
  readonly attempt: number;
  readonly recoveries: number;
  /** Time at which a worker took it up, ms since 1970; null where it was never begun. */
  readonly startedAtMs: number | null;
  readonly fetchMs: number;
  readonly unpackMs: number;
  readonly startMs: number;
  readonly loadMs: number;
  readonly runMs: number;
  readonly coldStart: boolean;
  /** Number of its last frame; 0 where it has given none. */
  readonly frames: number;
  /** The last that it said of its progress, as JSON; null where nothing. */
  readonly progress: string | null;
  /** Use of a network that is counted; null where it has none. */
  readonly network: NetworkUse | null;
}

export type Ending =
  | { readonly status: 'completed'; readonly result: StoredResult }
  | { readonly status: Exclude<SettledStatus, 'completed'>; readonly error: ErrorData };

/** The record of a task that ends now. */
export function outcomeOf(ticket: Ticket, facts: RunFacts, ending: Ending, nowMs: number): Outcome {
  return {
    ...identityOf(ticket),
    status: ending.status,
    ...(ending.status === 'completed' ? { result: ending.result } : { error: ending.error }),
    ...(isExhausted(ending, facts) ? { exhausted: true } : {}),
    attempt: facts.attempt,
    recoveries: facts.recoveries,
    workerId: facts.workerId,
    instanceId: facts.instanceId,
    startedAtMs: facts.startedAtMs,
    finishedAtMs: nowMs,
    fetchMs: round(facts.fetchMs),
    ...(facts.unpackMs === 0 ? {} : { unpackMs: round(facts.unpackMs) }),
    startMs: round(facts.startMs),
    ...(facts.loadMs === 0 ? {} : { loadMs: round(facts.loadMs) }),
    runMs: round(facts.runMs),
    // Clocks of two machines may differ a little; a wait is never negative.
    queuedMs: Math.max(0, (facts.startedAtMs ?? nowMs) - waitOf(ticket).sinceMs),
    coldStart: facts.coldStart,
    ...(facts.frames === 0 ? {} : { frames: facts.frames }),
    ...(facts.progress === null ? {} : { progress: JSON.parse(facts.progress) as unknown }),
    ...(facts.network === null ? {} : { network: facts.network }),
  };
}

/** Whether it failed in a way that another attempt, or a longer wait, might have helped. */
function isExhausted(ending: Ending, { attempt }: RunFacts): boolean {
  if (ending.status === 'completed' || ending.status === 'cancelled') return false;
  const { code } = ending.error;
  return code === 'QUEUE_TIMEOUT' || (attempt > 0 && isRetryable(code));
}

/** Returns a result as it is stored: in the outcome where it is small, beside it where it is not. */
export function storedResult({ contentType, body, head }: WholeResult): StoredResult {
  const about = { contentType, sizeBytes: body.length, ...(head === undefined ? {} : { head }) };
  if (body.length > INLINE_LIMIT_BYTES) return { ...about, encoding: 'beside' };
  if (isUtf8(body)) return { ...about, encoding: 'utf8', data: body.toString('utf8') };
  return { ...about, encoding: 'base64', data: body.toString('base64') };
}

type WholeResult = Pick<Extract<CallResult, { ok: true }>, 'contentType' | 'body' | 'head'>;

/** To a thousandth. */
export const round = (ms: number) => Math.round(ms * 1000) / 1000;
