import type { ServerAddress } from '../../http/server-client.ts';

/** A way from this process to the port of an instance. */
export interface Reach {
  readonly address: ServerAddress;
  /** Whether something takes connections there; false where there is no answer in time, ms. Cheap. */
  isListening(withinMs: number): Promise<boolean>;
  /** May be awaited twice. */
  close(): Promise<void>;
}
