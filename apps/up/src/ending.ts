/** The end of a process. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Reason why it could not be started at all. */
  readonly error?: Error;
}

/** The ending in words: `exit code 1`, `SIGKILL`. */
export function describeEnding({ code, signal, error }: Ending): string {
  if (error !== undefined) return error.message;
  return signal ?? `exit code ${code}`;
}
