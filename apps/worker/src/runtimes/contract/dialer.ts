/** The place at which a server is reached, and the host and port that requests to it name. */
export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  /** A socket of this machine that leads there; null where the address itself does. */
  readonly socketPath: string | null;
}

/** A way from this process to the port of an instance. */
export interface Dialer {
  readonly address: ServerAddress;
  /** Tells whether something takes connections there; false where there is no answer in time, ms. Cheap. */
  isListening(withinMs: number): Promise<boolean>;
  /** Ports on which something takes connections where the server is; none where that is not known in time, ms. */
  portsInUse(withinMs: number): Promise<readonly number[]>;
  /**
   * Tells how many bytes of a connection the server was given, where something stands between; null where there is no answer in
   * time, ms. Left out where connections are the server's own.
   */
  handedOn?(connection: string, withinMs: number): Promise<number | null>;
  /** Closes the way. May be awaited twice. */
  close(): Promise<void>;
}
