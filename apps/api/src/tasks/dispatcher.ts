import { randomUUID } from 'node:crypto';
import { TaskError } from '@pilum/core/errors/pilum-error.ts';
import type { QueuedState } from '@pilum/core/queue/task-ids.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { outputChannel } from '@pilum/core/redis/keys.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import { newTaskId } from '@pilum/core/redis/task-id.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { HttpTarget } from '@pilum/core/schemas/http-head.ts';
import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import { sha256Of } from '../artifacts/content-hash.ts';
import type { ArtifactResolver, Callable } from '../artifacts/resolve.ts';
import type { Principal } from '../auth/principal.ts';
import type { LiveWorkers } from '../workers/live-workers.ts';
import { noWorker } from '../workers/no-worker.ts';
import type { Acceptor } from './acceptor.ts';
import type { OutcomeWaits } from './await-outcome.ts';
import { requireReadable } from './content-type.ts';
import type { CompletionEstimate } from './estimate.ts';
import type { InvocationOptions } from './invocation-options.ts';
import { checkPayload, ticketPayload } from './payload.ts';
import { queueWaitMs } from './queue-wait.ts';

export interface DispatchDeps {
  readonly resolver: ArtifactResolver;
  readonly queues: TaskQueues;
  readonly acceptor: Acceptor;
  readonly tasks: TaskStore;
  readonly waits: OutcomeWaits;
  readonly workers: LiveWorkers;
  readonly estimate: CompletionEstimate;
  /** Wait of a sync caller that names none, ms. */
  readonly syncWaitMs: number;
}

/** A call, as its route has read it from the request. */
export interface Invocation {
  readonly reference: string;
  readonly payload: Buffer;
  readonly contentType: string;
  /** The request headers that the function receives. */
  readonly headers: Readonly<Record<string, string>>;
  /** Method and URL of a call as a web endpoint; left out for an invoke. */
  readonly http?: HttpTarget;
  readonly traceparent: string | null;
  readonly idempotencyKey: string | null;
  readonly options: InvocationOptions;
  /** Aborted when the caller leaves: its wait ends, its task goes on. */
  readonly gone: AbortSignal;
  /** Called with the ticket before the task is accepted or joined. */
  readonly onTicket?: (ticket: Ticket) => void;
  /** Called once, when the task is accepted. */
  readonly onAccepted: (accepted: Dispatched) => void;
}

/** The result of dispatching a call. */
export interface Dispatched {
  readonly ticket: Ticket;
  /** The outcome; null if the task is accepted and was still unsettled when the wait ended. */
  readonly outcome: Outcome | null;
  /** The state of an unsettled task. */
  readonly state: QueuedState;
  /** Expected time until an unsettled task is done, ms; null before the first measurement. */
  readonly estimatedCompletionMs: number | null;
  /** Whether the task belongs to an earlier call with the same Idempotency-Key. */
  readonly isReplay: boolean;
}

/** Least wait for the acceptance of a task, ms, even for a caller that does not wait for the outcome. */
const LEAST_ACCEPT_MS = 1000;

/** Makes tasks of calls, and waits for their outcomes on behalf of sync callers. */
export class Dispatcher {
  readonly #deps: DispatchDeps;

  constructor(deps: DispatchDeps) {
    this.#deps = deps;
  }

  /**
   * Makes a task of a call. When the promise resolves, Redis has recorded the task.
   * @throws RequestError `VALIDATION_FAILED`; ArtifactError as {@link ArtifactResolver.resolve}; TaskError
   *   `IDEMPOTENCY_CONFLICT`, `QUEUE_FULL`; RuntimeError `NO_WORKER` for a sync call that no live worker could run
   */
  async dispatch(principal: Principal, invocation: Invocation): Promise<Dispatched> {
    const { namespace } = principal;
    // A web endpoint judges its request body itself.
    if (invocation.http === undefined) checkPayload(invocation.contentType, invocation.payload);
    const callable = await this.#deps.resolver.resolve(namespace, invocation.reference);
    // Only handlers get a decoded event; other functions get the bytes.
    if (callable.version.spec.protocol === 'handler') requireReadable(invocation.contentType);
    if (invocation.options.mode !== 'async' && !this.#deps.workers.isKnownToRun(callable.version.spec)) {
      await this.#requireWorker(callable.version);
    }
    const ticket = this.#ticket(namespace, callable.version, invocation);
    if (invocation.idempotencyKey !== null) {
      const first = await this.#claim(ticket, invocation, invocation.idempotencyKey);
      if (first !== ticket.taskId) {
        const { replyTo } = this.#waiting({ namespace, taskId: first }, invocation);
        return await this.#join({ ...ticket, taskId: first, replyTo }, callable, invocation);
      }
    }
    invocation.onTicket?.(ticket);
    if (ticket.mode === 'async') return await this.#acceptAsync(ticket, callable, invocation, false);
    if (ticket.mode === 'stream') return await this.#acceptStream(ticket, callable, invocation, false);
    return await this.#acceptSync(ticket, callable, invocation);
  }

  async #acceptSync(ticket: Ticket, callable: Callable, invocation: Invocation): Promise<Dispatched> {
    const { waits, syncWaitMs } = this.#deps;
    const waitMs = invocation.options.waitMs ?? syncWaitMs;
    const accepted = acceptedNow(ticket, false);
    const outcome = await waits.duringAdd(ticket, waitMs, invocation.gone, async () => {
      await this.#deps.acceptor.accept(ticket, invocation.payload, callable, Math.max(waitMs, LEAST_ACCEPT_MS));
      invocation.onAccepted(accepted);
    });
    return await this.#afterWait({ ...accepted, outcome }, callable.version);
  }

  /** Adds the state of the task if the caller's wait has ended without an outcome. */
  async #afterWait(dispatched: Dispatched, version: Version): Promise<Dispatched> {
    if (dispatched.outcome !== null) return dispatched;
    const { ticket } = dispatched;
    const [job, estimatedCompletionMs] = await Promise.all([
      // The task is accepted, even if Redis is away at this moment.
      this.#deps.queues
        .of(ticket)
        .read(ticket.taskId)
        .catch(() => null),
      this.#estimate(ticket, version),
    ]);
    return { ...dispatched, state: job?.state ?? 'pending', estimatedCompletionMs };
  }

  /** Accepts a streamed task, without an estimate: the reader of the stream sees its progress. */
  async #acceptStream(
    ticket: Ticket,
    callable: Callable,
    { payload, onAccepted }: Invocation,
    isReplay: boolean,
  ): Promise<Dispatched> {
    const accepted = acceptedNow(ticket, isReplay);
    await this.#deps.acceptor.accept(ticket, payload, callable);
    onAccepted(accepted);
    return accepted;
  }

  async #acceptAsync(
    ticket: Ticket,
    callable: Callable,
    { payload, onAccepted }: Invocation,
    isReplay: boolean,
  ): Promise<Dispatched> {
    const accepted = acceptedNow(ticket, isReplay);
    // Both commands travel together, so that the estimate costs no round trip.
    const [estimatedCompletionMs] = await Promise.all([
      this.#estimate(ticket, callable.version),
      this.#deps.acceptor.accept(ticket, payload, callable).then(() => onAccepted(accepted)),
    ]);
    return { ...accepted, estimatedCompletionMs };
  }

  /** Answers a repeated call from the task of the first one. Adds the job again, because the first API may have died before it did. */
  async #join(ticket: Ticket, callable: Callable, invocation: Invocation): Promise<Dispatched> {
    const { tasks, waits, syncWaitMs } = this.#deps;
    invocation.onTicket?.(ticket);
    const standing = await tasks.outcome(ticket);
    const replay = { ...acceptedNow(ticket, true), outcome: standing };
    if (standing !== null) return replay;
    if (ticket.mode === 'stream') return await this.#acceptStream(ticket, callable, invocation, true);
    const accepted = await this.#acceptAsync(ticket, callable, invocation, true);
    if (ticket.mode === 'async') return accepted;
    const outcome = await waits.join(ticket, invocation.options.waitMs ?? syncWaitMs, invocation.gone);
    return await this.#afterWait({ ...replay, outcome }, callable.version);
  }

  #ticket(namespace: string, version: Version, invocation: Invocation): Ticket {
    const { artifactId, spec, code } = version;
    const { mode, timeoutMs, delayMs, attempts, priority } = invocation.options;
    const now = sharedNow();
    const taskId = newTaskId(artifactId);
    return {
      taskId,
      namespace,
      artifactId,
      version: version.version,
      digest: code?.digest ?? null,
      mode,
      acceptedAtMs: now,
      dueAtMs: now + delayMs,
      queueMs: queueWaitMs(spec, mode),
      attempt: 1,
      maxAttempts: attempts ?? spec.retry.attempts,
      ...(spec.retry.recoveries === undefined ? {} : { maxRecoveries: spec.retry.recoveries }),
      priority,
      runTimeoutMs: timeoutMs ?? spec.timeouts.runMs,
      ...this.#waiting({ namespace, taskId }, invocation),
      contentType: invocation.contentType,
      keyed: invocation.idempotencyKey !== null,
      headers: { ...invocation.headers },
      ...(invocation.http === undefined ? {} : { http: invocation.http }),
      ...(invocation.traceparent === null ? {} : { traceparent: invocation.traceparent }),
      payload: ticketPayload(invocation.payload),
    };
  }

  /** Returns the fields of a ticket that name the reply channel and the stream. */
  #waiting(ref: TaskRef, { options }: Invocation): Pick<Ticket, 'replyTo' | 'stream'> {
    const { mode, stream } = options;
    if (stream === null) return { replyTo: mode === 'sync' ? this.#deps.waits.channel : null };
    const { detach, restart } = stream;
    return { replyTo: outputChannel(ref), stream: { readerId: randomUUID(), detach, restart } };
  }

  /**
   * Claims an idempotency key for a task.
   * @returns the id of the task that holds the key
   */
  async #claim(ticket: Ticket, invocation: Invocation, key: string): Promise<string> {
    const { taskId, acceptedAtMs, dueAtMs, queueMs } = ticket;
    const digest = requestDigest(invocation);
    const claim = { digest, taskId, waitMs: dueAtMs - acceptedAtMs + queueMs };
    const held = await this.#deps.tasks.claimIdempotencyKey(ticket, key, claim);
    if (held.digest !== digest) throw new TaskError('IDEMPOTENCY_CONFLICT', { details: { taskId: held.taskId } });
    return held.taskId;
  }

  async #requireWorker({ spec }: Version): Promise<void> {
    const obstacle = await this.#deps.workers.obstacleTo(spec);
    if (obstacle !== null) throw noWorker(spec, obstacle);
  }

  async #estimate(ticket: Ticket, version: Version): Promise<number | null> {
    // A failed estimate must not fail the call.
    const runsMs = await this.#deps.estimate.ofPending(ticket.namespace, version).catch(() => null);
    return runsMs === null ? null : Math.max(0, ticket.dueAtMs - sharedNow()) + runsMs;
  }
}

/** Returns the state of a task that was accepted just now. */
function acceptedNow(ticket: Ticket, isReplay: boolean): Dispatched {
  return { ticket, outcome: null, state: 'pending', estimatedCompletionMs: null, isReplay };
}

/**
 * Returns a digest that is equal for two calls with the same artifact, payload, content type, run timeout and attempts. Delay,
 * priority and wait may differ between repeats of one call.
 */
function requestDigest({ reference, payload, contentType, options }: Invocation): string {
  return sha256Of(JSON.stringify([reference, contentType, options.timeoutMs, options.attempts, sha256Of(payload)]));
}
