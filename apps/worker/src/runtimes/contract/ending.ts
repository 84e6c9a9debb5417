import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';

export interface ExitStatus {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Processes of the instance that the kernel has killed for lack of memory. */
  readonly oomKills?: number;
  /** The engine or machine below it has failed: the process did not end by itself, and none of us has ended it. */
  readonly isLost?: true;
}

export interface EndingDeps {
  /** The process that was spawned has exited. */
  readonly exited: Promise<ExitStatus>;
  /** Asks the command to end. */
  signalCommand(): Promise<void>;
  /** Kills all that can be reached. */
  killAll(): void;
  /** Waits, after the exit, until every descendant is gone, and returns the number of kills for lack of memory. */
  sweep(): Promise<number>;
  readonly logger: Logger;
}

/**
 * The end of one process and all its descendants, whoever wants it:
 *
 *     running → SIGTERM → grace → SIGKILL → exited → swept
 *         └──────── by itself ──────────────↗
 */
export class Ending {
  readonly ended: Promise<ExitStatus>;
  readonly #deps: EndingDeps;
  #timer: NodeJS.Timeout | null = null;
  #killAtMs = Number.POSITIVE_INFINITY;
  #hasExited = false;

  constructor(deps: EndingDeps) {
    this.#deps = deps;
    this.ended = this.#watch();
  }

  /** Begins it, or hastens one that has begun. */
  begin(graceMs: number): void {
    if (this.#hasExited) return;
    const isFirst = this.#killAtMs === Number.POSITIVE_INFINITY;
    const killAtMs = performance.now() + graceMs;
    if (killAtMs >= this.#killAtMs) return;
    this.#killAtMs = killAtMs;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (graceMs <= 0) {
      this.#deps.killAll();
      return;
    }
    this.#timer = setTimeout(() => this.#deps.killAll(), graceMs);
    // SIGTERM first: user code may be flushing output.
    if (!isFirst) return;
    this.#deps.signalCommand().catch((error: unknown) => {
      logEvent(this.#deps.logger, 'sigterm-not-sent', { err: error });
    });
  }

  async #watch(): Promise<ExitStatus> {
    const status = await this.#deps.exited;
    this.#hasExited = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    try {
      return { ...status, oomKills: await this.#deps.sweep() };
    } catch (error) {
      // Nothing more can be done for it, and whoever waits must go on.
      logEvent(this.#deps.logger, 'instance-remains', { err: error });
      return status;
    }
  }
}
