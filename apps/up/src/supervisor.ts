import { setTimeout as sleep } from 'node:timers/promises';
import { describeEnding, type Ending } from './ending.ts';
import type { Part, PartRun } from './part.ts';
import { judge } from './restart-policy.ts';

/** The events in which a supervisor tells of its part. */
export interface SupervisorEvents {
  readonly onReady: (part: Part) => void;
  /** Hears of a part that has ended by itself and will be started again. */
  readonly onLost: (part: Part, how: string, delayMs: number) => void;
  /** Hears of a part that has ended by itself and will not be started again; `sentence` says why. */
  readonly onGivenUp: (part: Part, sentence: string) => void;
}

export type SupervisorState = 'idle' | 'starting' | 'ready' | 'waiting' | 'stopping' | 'stopped' | 'given up';

const NEXT: Readonly<Record<SupervisorState, readonly SupervisorState[]>> = {
  idle: ['starting', 'stopped'],
  starting: ['ready', 'starting', 'waiting', 'stopping', 'given up'],
  ready: ['starting', 'waiting', 'stopping', 'given up'],
  waiting: ['starting', 'stopping'],
  stopping: ['stopped'],
  stopped: [],
  'given up': [],
};

/**
 * Keeps one part running.
 *
 *     idle → starting → ready
 *               ↑ ↘       ↓
 *               ╰── waiting      it ended, and is started again after a while
 *     starting, ready → starting      somebody asked for a restart
 *     starting, ready → given up      restart-policy.ts says when
 *     starting, ready, waiting → stopping → stopped
 */
export class Supervisor {
  readonly part: Part;
  readonly #events: SupervisorEvents;
  readonly #stopping = new AbortController();
  readonly #firstReady = Promise.withResolvers<boolean>();
  /** Ends the pause before the next start. */
  #wake = new AbortController();
  #restarting = false;
  #state: SupervisorState = 'idle';
  #run: PartRun | undefined;
  #life: Promise<void> = Promise.resolve();

  constructor(part: Part, events: SupervisorEvents) {
    this.part = part;
    this.#events = events;
  }

  get state(): SupervisorState {
    return this.#state;
  }

  /** Starts the part. Resolves when it is ready for the first time; to false when it was stopped or given up before. */
  start(): Promise<boolean> {
    this.#life = this.#live().finally(() => this.#firstReady.resolve(false));
    return this.#firstReady.promise;
  }

  /** SIGTERM, the part's grace, SIGKILL. Resolves when nothing of it runs; may be called again. */
  async stop(): Promise<void> {
    if (this.#state === 'idle') this.#become('stopped');
    if (this.#state === 'starting' || this.#state === 'ready' || this.#state === 'waiting') {
      this.#become('stopping');
      this.#stopping.abort();
      void this.#run?.process.stop(this.part.graceMs);
    }
    await this.#life;
  }

  /**
   * Ends the run of now in good order and starts the part again, without a pause: its program is another one. One that
   * waits for its next start begins it now.
   */
  restart(): void {
    if (this.#state === 'waiting') this.#wake.abort();
    if ((this.#state !== 'starting' && this.#state !== 'ready') || this.#restarting) return;
    this.#restarting = true;
    void this.#run?.process.stop(this.part.graceMs);
  }

  /** SIGKILL at once; {@link stop} is still what to wait for. */
  kill(): void {
    this.#run?.process.kill();
  }

  async #live(): Promise<void> {
    let everReady = false;
    let restarts = 0;
    for (;;) {
      this.#become('starting');
      const { ending, readyForMs, late } = await this.#runOnce();
      if (this.#stopping.signal.aborted) return this.#become('stopped');
      if (this.#restarting) {
        this.#restarting = false;
        restarts = 0;
        continue;
      }
      everReady ||= readyForMs !== undefined;
      const how = late ?? describeEnding(ending);
      const verdict = judge({ ending, everReady, readyForMs: readyForMs ?? 0, restarts });
      if (verdict.action === 'give up') {
        this.#become('given up');
        return this.#events.onGivenUp(this.part, sentenceOf(this.part, verdict.reason, how));
      }
      restarts = verdict.restarts;
      this.#become('waiting');
      this.#events.onLost(this.part, how, verdict.delayMs);
      this.#wake = new AbortController();
      const signal = AbortSignal.any([this.#stopping.signal, this.#wake.signal]);
      await sleep(verdict.delayMs, undefined, { signal }).catch(() => {});
      if (this.#wake.signal.aborted) restarts = 0;
      if (this.#stopping.signal.aborted) return this.#become('stopped');
    }
  }

  /** One run, to its end. `readyForMs` is left out when it was never ready, `late` says that it took too long. */
  async #runOnce(): Promise<{ ending: Ending; readyForMs?: number; late?: string }> {
    const run = this.part.launch();
    this.#run = run;
    let late: string | undefined;
    const readyAt = await Promise.race([
      run.ready.then(() => performance.now()),
      run.process.ended.then(() => undefined),
    ]).catch((error: Error) => {
      late = error.message;
      run.process.kill();
    });
    if (readyAt !== undefined && this.#state === 'starting') {
      this.#become('ready');
      this.#events.onReady(this.part);
      this.#firstReady.resolve(true);
    }
    const ending = await run.process.ended;
    this.#run = undefined;
    return { ending, late, readyForMs: readyAt === undefined ? undefined : performance.now() - readyAt };
  }

  #become(state: SupervisorState): void {
    if (!NEXT[this.#state].includes(state)) {
      throw new Error(`A supervisor cannot go from ${this.#state} to ${state} (${this.part.name}).`);
    }
    this.#state = state;
  }
}

function sentenceOf({ name }: Part, reason: 'configuration' | 'never ready', how: string): string {
  if (reason === 'configuration')
    return `${name} cannot work with its configuration: put right what its log says above and start again.`;
  return `${name} could not be started (${how}): its log above says why.`;
}
