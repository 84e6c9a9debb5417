import type { ServerAddress } from './server-client.ts';

/** A way from this process to the port of an instance. */
export interface Dialer {
  readonly address: ServerAddress;
  /** Whether something takes connections there; false where there is no answer in time, ms. Cheap. */
  isListening(withinMs: number): Promise<boolean>;
  /** May be awaited twice. */
  close(): Promise<void>;
}
