import { EXIT_CONFIGURATION } from '../config/read-configuration.ts';
import { ConfigurationError, SystemError } from '../errors/pilum-error.ts';
import { type LogOf, logEvent } from '../log/log-events.ts';
import type { Problem } from '../schemas/check.ts';

/** Something that has started and can be stopped. */
export interface Started {
  /** Ends what it does in good order. */
  close(): Promise<void>;
  /** The process ends after this long all the same, ms: a Redis that is away would hold it for ever. */
  readonly closeWithinMs: number;
  /** Resolves where it wants to be stopped for a reason of its own, which it says. */
  readonly wantsToStop?: Promise<string>;
}

/**
 * Runs a process from start to exit: says `ready` to its parent over IPC when it has started; stops in good order at
 * SIGTERM, SIGINT or when its parent is gone, and at once at a second signal, or when that takes longer than it may.
 *
 * Exit codes: 0 stopped, 1 failed, {@link EXIT_CONFIGURATION} where another start would fail in the same way.
 * @param start resolves when the process does what it is for
 */
export async function runProcess(log: LogOf<'info' | 'error'>, start: () => Promise<Started>): Promise<void> {
  let stopping = false;
  let started: Started | undefined;
  const stop = (reason: string) => {
    if (stopping) {
      logEvent(log, 'stopping-at-once', {}, `${reason} again: stopping at once`);
      process.exit(1);
    }
    stopping = true;
    logEvent(log, 'stopping', {}, `${reason}: stopping`);
    // Before the start is over there is nothing to end in good order; it may wait for a Redis that never comes.
    if (started === undefined) process.exit(0);
    const { closeWithinMs } = started;
    setTimeout(() => {
      logEvent(log, 'stop-overdue', { closeWithinMs });
      process.exit(1);
    }, closeWithinMs).unref();
    started.close().then(
      () => process.exit(0),
      (error: unknown) => {
        logEvent(log, 'stop-failed', { err: error });
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  // A parent that was killed cannot say so: its end of the channel closes.
  process.on('disconnect', () => stop('the parent process is gone'));
  try {
    started = await start();
    process.send?.('ready');
    started.wantsToStop?.then(stop, (error: unknown) => {
      logEvent(log, 'stop-failed', { err: error });
      stop('after a failure');
    });
  } catch (error) {
    if (stopping) return;
    if (error instanceof ConfigurationError) {
      const problems = error.details?.problems as Problem[] | undefined;
      if (problems === undefined) logEvent(log, 'start-refused', { code: error.code }, error.message);
      for (const { where, what } of problems ?? [])
        logEvent(log, 'start-refused', { code: error.code }, `${where} ${what}`);
      process.exit(EXIT_CONFIGURATION);
    }
    if (error instanceof SystemError && error.code !== 'INTERNAL') {
      // It says what is wrong and what to do; where it was thrown is of no help.
      logEvent(log, 'start-failed', { code: error.code }, `${error.message} ${error.hint ?? ''}`.trim());
    } else logEvent(log, 'start-failed', { err: error });
    process.exit(1);
  }
}
