import { EXIT_CONFIGURATION } from '../config/config.ts';
import { ConfigurationError } from '../errors/pilum-error.ts';

/** The little of a logger that is needed here. */
export interface ProcessLog {
  info(message: string): void;
  error(fields: object, message: string): void;
}

/** Something that has started and can be stopped. */
export interface Started {
  /** Ends what it does in good order; within a limit of its own. */
  close(): Promise<void>;
}

/**
 * Runs a process from start to exit: says `ready` to its parent over IPC when it has started; stops in good order at
 * SIGTERM, SIGINT or when its parent is gone, and at once at a second signal.
 *
 * Exit codes: 0 stopped, 1 failed, {@link EXIT_CONFIGURATION} where another start would fail in the same way.
 * @param start resolves when the process does what it is for
 */
export async function runProcess(log: ProcessLog, start: () => Promise<Started>): Promise<void> {
  let stopping = false;
  let started: Promise<Started> | undefined;
  const stop = (reason: string) => {
    if (stopping) {
      log.info(`${reason} again: stopping at once`);
      process.exit(1);
    }
    stopping = true;
    log.info(`${reason}: stopping`);
    // Before the start is over there is nothing to end in good order.
    if (started === undefined) process.exit(0);
    started
      .then((running) => running.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ err: error }, 'could not stop in good order');
          process.exit(1);
        },
      );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
  // A parent that was killed cannot say so: its end of the channel closes.
  process.on('disconnect', () => stop('the parent process is gone'));
  try {
    const starting = start();
    started = starting;
    started.catch(() => undefined);
    await starting;
    process.send?.('ready');
  } catch (error) {
    if (stopping) return;
    if (error instanceof ConfigurationError) {
      log.error({ code: error.code, ...error.details }, error.message);
      process.exit(EXIT_CONFIGURATION);
    }
    log.error({ err: error }, 'could not start');
    process.exit(1);
  }
}
