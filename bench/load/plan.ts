/** The work of a load process. It goes from process to process as it is. */
export interface LoadPlan {
  /** Name of the target, for errors. */
  readonly name: string;
  readonly url: string;
  readonly connections: number;
  readonly until: { readonly forMs: number } | { readonly calls: number };
  /** A JSON object of so many bytes, another for each connection; or a text that all send. */
  readonly body: { readonly bytes: number } | { readonly text: string };
  /** The status that every answer must have. */
  readonly status: number;
  /** Whether the answer must have in it what was sent. */
  readonly isEcho: boolean;
  /** From one call of a connection to its next, ms; 0 for at once. */
  readonly everyMs: number;
}

export interface Sample {
  readonly calls: number;
  readonly callsPerS: number;
  /** ms since 1970 */
  readonly firstAnswerAtMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

export interface LoadRequest {
  readonly id: number;
  readonly plan: LoadPlan;
}

export type LoadAnswer =
  | { readonly id: number; readonly sample: Sample }
  | { readonly id: number; readonly error: string };
