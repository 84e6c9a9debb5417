/** The reasons for which a call is ended from outside, by the name of the error that its function is told of. */
const MESSAGES = {
  TimeoutError: 'The task has reached its run timeout.',
  TaskCancelled: 'The task was cancelled.',
  WorkerStopping: 'The worker is stopping, and the task is run again.',
} as const;

export type StopReason = keyof typeof MESSAGES;

/** The reason of a call's signal; its name and its message are what the function finds in `context.signal`. */
export class CallStopped extends Error {
  constructor(name: StopReason) {
    super(MESSAGES[name]);
    this.name = name;
  }
}

const TIMED_OUT = new CallStopped('TimeoutError');

/**
 * Returns what a function is told of a signal's reason: that its time is over, unless the reason is a {@link CallStopped}.
 */
export function stopReasonOf(reason: unknown): { name: string; message: string } {
  const { name, message } = reason instanceof CallStopped ? reason : TIMED_OUT;
  return { name, message };
}
