import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';

/** A TCP proxy in front of Redis that can misbehave. */
export class RedisProxy {
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  #dropsReplies = false;

  private constructor(redisSocket: string) {
    this.#server = createServer((client) => {
      const upstream = createConnection(redisSocket);
      this.#clients.add(client);
      client.setNoDelay(true);
      const end = () => {
        this.#clients.delete(client);
        client.destroy();
        upstream.destroy();
      };
      client.on('error', end).on('close', end);
      upstream.on('error', end).on('close', end);
      client.pipe(upstream);
      upstream.on('data', (chunk) => {
        if (this.#dropsReplies || client.write(chunk)) return;
        upstream.pause();
        client.once('drain', () => upstream.resume());
      });
    });
  }

  /** @param redisSocket path of the Unix socket of Redis; there may be none behind it at times */
  static async open(redisSocket: string): Promise<RedisProxy> {
    const proxy = new RedisProxy(redisSocket);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Cuts every connection; new ones are taken at once. */
  cut(): void {
    for (const client of this.#clients) client.destroy();
  }

  /** Commands get through to Redis, and its replies and messages get lost. */
  dropReplies(): void {
    this.#dropsReplies = true;
  }

  /** Replies get through again, on new connections: a lost reply cannot be made up for on an old one. */
  passReplies(): void {
    this.cut();
    this.#dropsReplies = false;
  }

  /** May be called again. */
  close(): void {
    this.#server.close();
    this.cut();
  }
}
