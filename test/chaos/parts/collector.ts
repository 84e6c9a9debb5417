import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { EventOf } from '../history/events.ts';
import type { CollectorAddress } from '../load/functions.ts';

type Report = EventOf<'start'> | EventOf<'end'>;

/** Where functions report their starts and ends, past Pilum and its Redis: JSON lines over TCP. */
export class Collector {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(onReport: (report: Report) => void) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      // An instance that is killed resets its connection; what it had sent before is here.
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
      createInterface({ input: socket })
        .on('line', (line) => onReport(JSON.parse(line)))
        .on('error', () => undefined);
    });
  }

  /** @param host the address of this machine that functions see it at */
  static async open(onReport: (report: Report) => void, host = '127.0.0.1'): Promise<Collector> {
    const collector = new Collector(onReport);
    collector.#server.listen(0, host);
    await once(collector.#server, 'listening');
    return collector;
  }

  get address(): CollectorAddress {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  /** May be called again. */
  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
