import { logEvent } from '@pilum/core/log/log-events.ts';
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import type { SettledStatus } from '@pilum/core/states/states.ts';
import type { OutputStore } from '@pilum/core/store/output-store.ts';
import type { Settlement } from '@pilum/core/store/task-store.ts';
import type { Logger } from 'pino';
import type { StreamedTasks } from '../output/streamed-tasks.ts';
import { type OutputLimits, TaskOutput } from '../output/task-output.ts';
import { noteRecovery } from './call-until-not-lost.ts';
import { SUSPECT_AFTER } from './endings.ts';
import { type NextAttempt, nextAttemptOf, nextStartOf } from './next-try.ts';
import { type Ending, outcomeOf } from './outcomes.ts';
import { nextTicket } from './retry.ts';
import { factsOf, newRun, type Run } from './run.ts';
import { type Admits, type AttemptDeps, runAttempt } from './run-attempt.ts';
import { NOT_TAKEN, untilTaken } from './until-taken.ts';

export interface RunnerDeps extends AttemptDeps {
  readonly workerId: string;
  readonly outputs: OutputStore;
  readonly outputLimits: OutputLimits;
  readonly streamed: StreamedTasks;
}

/**
 * The result of running a job, and so what is to become of the job:
 *
 * - `ending`: the task is settled with this, and its job ended.
 * - `retry`: the job is put off, for the next attempt or the next start.
 * - `refused`: this worker has no room for it, or does not know what it asks for. Nothing was begun, and another may run it.
 * - `interrupted`: the worker stops and could not wait for its end. The job goes back to its queue.
 * - `late`: the task is another worker's by now, and so is the job.
 */
export type RunResult =
  | {
      readonly kind: 'ending';
      readonly settlement: Settlement;
      /** False for an outcome that the task had before this run. */
      readonly isOwn: boolean;
    }
  | { readonly kind: 'retry'; readonly next: Ticket }
  | { readonly kind: 'refused' }
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'late' };

const INTERRUPTED: RunResult = { kind: 'interrupted' };
const LATE: RunResult = { kind: 'late' };

/**
 * Takes one task from its job to what its job is to become:
 *
 *     has it an outcome? what ran before? → attempt → start again? → next attempt? → settlement
 */
export class TaskRunner {
  readonly #deps: RunnerDeps;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  /**
   * Runs one attempt at a task. When it is over, the instance is back in its pool or gone, and Redis has all that the task gave.
   * @param admits says whether it may run here
   * @param signal ends it from outside
   * @throws whatever Redis throws, and then the job is left to expire
   */
  async run(held: HeldJob, admits: Admits, signal: AbortSignal): Promise<RunResult> {
    const { ticket } = held;
    const { outputs, outputLimits, streamed } = this.#deps;
    const output = new TaskOutput({
      store: outputs,
      limits: outputLimits,
      sender: streamed.channel,
      ticket,
      token: held.token,
      pacing: streamed.begin(ticket),
    });
    try {
      const run = newRun(held, output);
      const before = isNew(run) ? null : await this.#takeUp(run);
      if (before !== null) return before;
      const attempt = await runAttempt(run, this.#deps, admits, signal);
      if (attempt.kind !== 'ending') return attempt;
      const { ending } = attempt;
      const nextStart = nextStartOf(run, ending);
      if (nextStart !== null) return await this.#startAgain(run, nextStart, signal);
      const following = nextAttemptOf(run, ending, this.#deps.workerId);
      if (following !== null) return await this.#retry(run, following, ending, signal);
      return await this.#settle(run, ending, signal);
    } finally {
      output.close();
      streamed.end(ticket);
    }
  }

  /** Goes on from what earlier runs of the task have left; returns what becomes of its job where it is not to run now. */
  async #takeUp(run: Run): Promise<RunResult | null> {
    const { held, ticket, output } = run;
    const { tasks, logger } = this.#deps;
    if (held.handovers > 1 || ticket.keyed) {
      // It may have come this way before: its worker died between settling and finishing, or it was added again.
      const standing = await tasks.outcome(ticket);
      if (standing !== null) return this.#endAs(standing, ticket);
      run.losses = await tasks.losses(ticket);
      run.recoveries += run.losses;
      if (held.stalls >= SUSPECT_AFTER) run.suspicion = await tasks.suspicion(ticket);
    }
    if (held.handovers > 1 || ticket.attempt > 1) await output.resume();
    if (held.stalls > (ticket.stalls ?? 0)) {
      const failed = await tasks.attempts(ticket);
      run.attempt = failed.length + 1;
      const last = failed.at(-1);
      if (last !== undefined && last.attempt === ticket.attempt) {
        // Its worker died between recording the attempt and putting the job off.
        return { kind: 'retry', next: nextTicket(ticket, held.stalls, last.attempt, last.retryAtMs) };
      }
      output.attempt = run.attempt;
      noteRecovery(run, 'its worker stopped renewing its claim on it', logger);
    }
    return null;
  }

  /** Puts a task off that no instance could be had for. */
  async #startAgain(run: Run, next: Ticket, signal: AbortSignal): Promise<RunResult> {
    const finished = await untilTaken(() => run.output.finish(), signal, this.#deps.logger);
    return finished === NOT_TAKEN ? INTERRUPTED : { kind: 'retry', next };
  }

  /** Records an attempt that failed and is followed by another. */
  async #retry(run: Run, { failed, next }: NextAttempt, { status }: Ending, signal: AbortSignal): Promise<RunResult> {
    const { tasks, logger } = this.#deps;
    if ((await untilTaken(() => run.output.finish(), signal, logger)) === NOT_TAKEN) return INTERRUPTED;
    const recorded = await untilTaken(() => tasks.recordAttempt(next, failed, run.held), signal, logger);
    if (recorded === NOT_TAKEN) return INTERRUPTED;
    await run.released;
    const { ticket, attempt } = run;
    if (typeof recorded === 'object') {
      noteLate(ticket, recorded, status, logger);
      return this.#endAs(recorded, ticket);
    }
    if (recorded === 'recorded') return { kind: 'retry', next };
    logEvent(logger, 'late-attempt', { taskId: ticket.taskId, attempt });
    return LATE;
  }

  async #settle(run: Run, ending: Ending, signal: AbortSignal): Promise<RunResult> {
    const { ticket, output, held } = run;
    const { tasks, workerId, logger } = this.#deps;
    if (output.hasAdded || ticket.stream !== undefined) {
      if ((await untilTaken(() => output.finish(), signal, logger)) === NOT_TAKEN) return INTERRUPTED;
    }
    if (ticket.stream !== undefined && output.isSuperseded) {
      // The stream is of another run by now: with this outcome it would end in the middle of that.
      logEvent(logger, 'late-stream-end', { taskId: ticket.taskId });
      return LATE;
    }
    // Of a task of which nothing was added, and that is most: they need no command of their own.
    const log = output.takeLog();
    const outcome = outcomeOf(ticket, factsOf(run, workerId), ending, sharedNow());
    const isFirstRun = held.handovers === 1 && run.attempt === 1 && run.recoveries === 0;
    const settlement = tasks.settlement(ticket, outcome, {
      ...(log === undefined ? {} : { log }),
      ...(run.result === undefined ? {} : { result: run.result }),
      isAlone: isFirstRun && 'data' in ticket.payload && !output.hasAdded,
    });
    if (run.released !== null) {
      // The caller does not wait until the instance is gone; the slot that it used does.
      if ((await untilTaken(() => tasks.settleAs(settlement), signal, logger)) === NOT_TAKEN) return INTERRUPTED;
      await run.released;
    }
    return { kind: 'ending', settlement, isOwn: true };
  }

  /** Ends the job of a task that has its outcome. */
  #endAs(standing: Outcome, ticket: Ticket): RunResult {
    return { kind: 'ending', settlement: this.#deps.tasks.settlement(ticket, standing), isOwn: false };
  }
}

/** Whether nothing of a task can be on record yet: neither an outcome nor output, attempts or losses. */
function isNew({ held, ticket }: Run): boolean {
  return held.handovers <= 1 && held.stalls === 0 && ticket.attempt === 1 && !ticket.keyed;
}

/** Says that a run came to another end than the outcome that its task has. */
export function noteLate({ taskId }: Ticket, standing: Outcome, late: SettledStatus, logger: Logger): void {
  if (late === 'cancelled') return; // that it was settled from outside is how it got here
  logEvent(logger, 'late-outcome', { taskId, standing: standing.status, late });
}
