import type { Logger } from 'pino';

/** What the sandboxes of a worker are made from. */
export interface SandboxesOptions {
  /** `none` is for machines that cannot sandbox, and for code that may do what the worker may. */
  readonly isolation: 'sandbox' | 'none';
  /** What instances read lies below it; see `chooseStagingDirectory`. */
  readonly stagingDirectory: string;
  /** Puts what runs inside instances on our behalf below it and returns where; left out where there is no such thing. */
  readonly stageBootstraps?: (stagingDirectory: string) => Promise<string>;
  readonly nodePath: string;
  /** null: functions in Python are refused. */
  readonly pythonPath: string | null;
  readonly workerId: string;
  readonly logger: Logger;
}
