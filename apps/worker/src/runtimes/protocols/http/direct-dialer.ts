import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Dialer } from '../../contract/dialer.ts';

const HOST = '127.0.0.1';

/** A server that listens on this machine's own loopback. */
export class DirectDialer implements Dialer {
  readonly address: { readonly host: string; readonly port: number; readonly socketPath: null };

  constructor(port: number) {
    this.address = { host: HOST, port, socketPath: null };
  }

  async isListening(withinMs: number): Promise<boolean> {
    const socket = connect({ host: HOST, port: this.address.port });
    try {
      await once(socket, 'connect', { signal: AbortSignal.timeout(withinMs) });
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }

  /** Returns none: on a machine that others use too nobody knows whose a port is. */
  portsInUse(): Promise<readonly number[]> {
    return Promise.resolve([]);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Ports that were given lately: of two that ask at the same time each has its own. */
const given = new Set<number>();
const GIVEN_FOR_MS = 10_000;

/** A port that nothing listens on. Another program may take it before the server does, which then fails to start. */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer();
    server.listen(0, HOST);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    server.close();
    await once(server, 'close');
    if (given.has(port)) continue;
    given.add(port);
    setTimeout(() => given.delete(port), GIVEN_FOR_MS).unref();
    return port;
  }
}
