import { randomUUID } from 'node:crypto';
import { TaskError } from '@pilum/core/errors/pilum-error.ts';
import type { QueuedState } from '@pilum/core/queue/task-ids.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { outputChannel } from '@pilum/core/redis/keys.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import { newTaskId } from '@pilum/core/redis/task-id.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { HttpTarget } from '@pilum/core/schemas/http-head.ts';
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
  /** How long a sync caller waits if it does not say, ms. */
  readonly syncWaitMs: number;
}

/** One call, as the route has read it. */
export interface Invocation {
  readonly reference: string;
  readonly payload: Buffer;
  readonly contentType: string;
  /** What of the request's headers the function is given. */
  readonly headers: Readonly<Record<string, string>>;
  /** What was asked of the function as a web endpoint; left out where it is invoked. */
  readonly http?: HttpTarget;
  readonly traceparent: string | null;
  readonly idempotencyKey: string | null;
  readonly options: InvocationOptions;
  /** Aborted when the caller has left: its wait ends, its task goes on. */
  readonly gone: AbortSignal;
  /** Is told of the task before it is accepted, or joined. */
  readonly onTicket?: (ticket: Ticket) => void;
  /** Is told, once, that the task is accepted; with what is then known of it. */
  readonly onAccepted: (accepted: Dispatched) => void;
}

/** What became of a call. */
export interface Dispatched {
  readonly ticket: Ticket;
  /** Null: accepted, and not settled while the caller waited. */
  readonly outcome: Outcome | null;
  /** Of a task that is not settled. */
  readonly state: QueuedState;
  /** Ms until a task that is not settled will be done; null where nothing was measured yet. */
  readonly estimatedCompletionMs: number | null;
  /** An earlier call with the same Idempotency-Key was first, and this is its task. */
  readonly isReplay: boolean;
}

/** A caller that does not wait for the outcome waits so long for the acceptance at least, ms. */
const LEAST_ACCEPT_MS = 1000;

/** Accepts tasks and waits for them on behalf of sync callers. */
export class Dispatcher {
  readonly #deps: DispatchDeps;

  constructor(deps: DispatchDeps) {
    this.#deps = deps;
  }

  /**
   * Accepts a task: with the answer of this function it is recorded in Redis.
   * @throws RequestError `VALIDATION_FAILED`; ArtifactError as {@link ArtifactResolver.resolve}; TaskError
   *   `IDEMPOTENCY_CONFLICT`, `QUEUE_FULL`; RuntimeError `NO_WORKER` for a sync call that no one could run
   */
  async dispatch(principal: Principal, invocation: Invocation): Promise<Dispatched> {
    const { namespace } = principal;
    // What a web endpoint takes is its own to say.
    if (invocation.http === undefined) checkPayload(invocation.contentType, invocation.payload);
    const callable = await this.#deps.resolver.resolve(namespace, invocation.reference);
    // Other functions get the bytes as they are.
    if (callable.version.spec.protocol === 'handler') requireReadable(invocation.contentType);
    if (invocation.options.mode !== 'async') await this.#requireWorker(callable.version);
    const ticket = this.#ticket(namespace, callable.version, invocation);
    if (invocation.idempotencyKey !== null) {
      const first = await this.#claim(ticket, invocation, invocation.idempotencyKey);
      if (first !== ticket.taskId) {
        const { replyTo } = this.#waiting(namespace, first, invocation);
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

  /** A caller whose wait is over without an outcome is told how far the task is. */
  async #afterWait(dispatched: Dispatched, version: Version): Promise<Dispatched> {
    if (dispatched.outcome !== null) return dispatched;
    const { ticket } = dispatched;
    const [job, estimatedCompletionMs] = await Promise.all([
      // The task is accepted: that Redis is away at the moment is no reason to say otherwise.
      this.#deps.queues
        .of(ticket.namespace, ticket.artifactId)
        .read(ticket.taskId)
        .catch(() => null),
      this.#estimate(ticket, version),
    ]);
    return { ...dispatched, state: job?.state ?? 'pending', estimatedCompletionMs };
  }

  /** Whoever reads the stream knows more than an estimate. */
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
    // Asked at the same time, so that the estimate costs no round trip of its own.
    const [estimatedCompletionMs] = await Promise.all([
      this.#estimate(ticket, callable.version),
      this.#deps.acceptor.accept(ticket, payload, callable).then(() => onAccepted(accepted)),
    ]);
    return { ...accepted, estimatedCompletionMs };
  }

  /** Answers a repeat from the task of the first call. Its job is added again: the first may have died before it. */
  async #join(ticket: Ticket, callable: Callable, invocation: Invocation): Promise<Dispatched> {
    const { tasks, waits, syncWaitMs } = this.#deps;
    invocation.onTicket?.(ticket);
    const standing = await tasks.outcome(ticket.namespace, ticket.taskId);
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
      ...this.#waiting(namespace, taskId, invocation),
      contentType: invocation.contentType,
      keyed: invocation.idempotencyKey !== null,
      headers: { ...invocation.headers },
      ...(invocation.http === undefined ? {} : { http: invocation.http }),
      ...(invocation.traceparent === null ? {} : { traceparent: invocation.traceparent }),
      payload: ticketPayload(invocation.payload),
    };
  }

  /** Who waits for the outcome, and how it is streamed. */
  #waiting(namespace: string, taskId: string, { options }: Invocation): Pick<Ticket, 'replyTo' | 'stream'> {
    const { mode, stream } = options;
    if (stream === null) return { replyTo: mode === 'sync' ? this.#deps.waits.channel : null };
    const { detach, restart } = stream;
    return { replyTo: outputChannel(namespace, taskId), stream: { readerId: randomUUID(), detach, restart } };
  }

  /**
   * Claims the key for this task.
   * @returns the id of the task that holds the key now
   */
  async #claim(ticket: Ticket, invocation: Invocation, key: string): Promise<string> {
    const { namespace, artifactId, taskId, acceptedAtMs, dueAtMs, queueMs } = ticket;
    const digest = requestDigest(invocation);
    const claim = { digest, taskId, waitMs: dueAtMs - acceptedAtMs + queueMs };
    const held = await this.#deps.tasks.claimIdempotencyKey(namespace, artifactId, key, claim);
    if (held.digest !== digest) throw new TaskError('IDEMPOTENCY_CONFLICT', { details: { taskId: held.taskId } });
    return held.taskId;
  }

  async #requireWorker({ spec }: Version): Promise<void> {
    const obstacle = await this.#deps.workers.obstacleTo(spec);
    if (obstacle !== null) throw noWorker(spec, obstacle);
  }

  async #estimate(ticket: Ticket, version: Version): Promise<number | null> {
    // The task is what matters: without an estimate it is accepted all the same.
    const runsMs = await this.#deps.estimate.ofPending(ticket.namespace, version).catch(() => null);
    return runsMs === null ? null : Math.max(0, ticket.dueAtMs - sharedNow()) + runsMs;
  }
}

/** What is known of a task in the moment in which it is accepted. */
function acceptedNow(ticket: Ticket, isReplay: boolean): Dispatched {
  return { ticket, outcome: null, state: 'pending', estimatedCompletionMs: null, isReplay };
}

/**
 * Two requests with one key are the same where artifact, payload, run timeout and attempts are; when it is to be run and
 * how one waits for it is no part of it.
 */
function requestDigest({ reference, payload, contentType, options }: Invocation): string {
  return sha256Of(JSON.stringify([reference, contentType, options.timeoutMs, options.attempts, sha256Of(payload)]));
}
