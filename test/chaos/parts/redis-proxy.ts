import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';

/** A proxy in front of Redis that can misbehave. A socket, too: functions with the network of the machine must not reach it. */
export class RedisProxy {
  readonly url: string;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  #dropsReplies = false;

  private constructor(redisSocket: string, socket: string) {
    this.url = `unix://${socket}`;
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
    const socket = `${redisSocket}.proxy`;
    const proxy = new RedisProxy(redisSocket, socket);
    proxy.#server.listen(socket);
    await once(proxy.#server, 'listening');
    return proxy;
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
