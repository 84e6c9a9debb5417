import { withTimeout } from '@pilum/core/async/with-timeout.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { Principal } from '../auth/principal.ts';
import { answerLimitMs, notAnswered } from '../http/answer-limit.ts';
import type { Dispatched, Dispatcher, Invocation } from './dispatcher.ts';
import { envelopeText, pendingHead, settledText } from './envelope.ts';
import type { InFlightLimit } from './in-flight-limit.ts';

export interface CallDeps {
  readonly dispatcher: Dispatcher;
  readonly tasks: TaskStore;
  readonly inFlight: InFlightLimit;
  /** Wait of a sync caller that names none, ms. */
  readonly syncWaitMs: number;
}

export interface Called {
  readonly dispatched: Dispatched;
  /** The envelope as JSON text. */
  readonly text: string;
}

/**
 * Calls a function, and answers its caller in time even if Redis is silent: with the acceptance of the task, if that is known by then.
 * @throws the errors of {@link Dispatcher.dispatch}; SystemError `REDIS_UNAVAILABLE` if the acceptance is unknown by then, or if too
 *   many calls wait for Redis
 */
export async function callInTime(
  { dispatcher, tasks, inFlight, syncWaitMs }: CallDeps,
  principal: Principal,
  invocation: Omit<Invocation, 'onAccepted'>,
): Promise<Called> {
  const { options, idempotencyKey, payload } = invocation;
  const limitMs = answerLimitMs(options.mode === 'sync' ? (options.waitMs ?? syncWaitMs) : 0);
  const leave = inFlight.enter(payload.length);
  let accepted: Dispatched | null = null;
  const onAccepted = (dispatched: Dispatched) => {
    accepted = dispatched;
    leave();
  };
  const call = async (): Promise<Called> => {
    const dispatched = await dispatcher.dispatch(principal, { ...invocation, onAccepted });
    const { outcome } = dispatched;
    return { dispatched, text: outcome === null ? pendingText(dispatched) : await settledText(tasks, outcome) };
  };
  try {
    return await withTimeout(call(), limitMs, () => {
      if (accepted !== null) return { dispatched: accepted, text: pendingText(accepted) };
      throw notAnswered(limitMs, hintFor(idempotencyKey));
    });
  } finally {
    leave();
  }
}

const pendingText = ({ ticket, state, estimatedCompletionMs }: Dispatched) =>
  envelopeText(pendingHead(ticket, state, estimatedCompletionMs), 'null');

function hintFor(idempotencyKey: string | null): string {
  return idempotencyKey === null
    ? 'The task may have been accepted all the same. Calls with an Idempotency-Key can be repeated safely: the function runs once.'
    : 'The task may have been accepted all the same: repeat the call with the same Idempotency-Key, and it runs once.';
}
