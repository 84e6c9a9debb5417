import { isIP, type Socket } from 'node:net';
import { type Command, Redis } from 'ioredis';
import type { RedisOptions } from './connect.ts';
import { type PrimaryAddress, watchPrimary } from './primary-watch.ts';

/** Message of a connection that leaves a replica. */
const REPLICA_MESSAGE = 'READONLY this Redis is a replica';

/** Whether an address is what IPv6 writes for one of IPv4. */
const isSameIn6 = (address: string | undefined, ipv4: string) => address === `::ffff:${ipv4}`;

/** A part of ioredis that is not declared: it asks this of each new connection with what INFO has said, and leaves where it is not true. */
interface Connecting {
  readonly connector: { check(info: { readonly role?: string }): boolean };
}

/**
 * A connection that writes the commands of one event-loop turn together: a write wakes another process, which costs more than
 * a command. ioredis's own way (`enableAutoPipelining`) makes an object of some hundred properties for each turn, and keeps
 * the next turn's commands until the last one's are answered.
 *
 * It leaves a Redis that is a replica, as one becomes that was the primary when the connection broke.
 */
export class BatchingRedis extends Redis {
  #held: Redis['stream'] | null = null;
  readonly #endWatch: () => void;

  constructor(options: RedisOptions) {
    super(options);
    const { connector } = this as unknown as Connecting;
    const check = connector.check.bind(connector);
    connector.check = (info) => {
      const { role } = info;
      if (role !== 'slave' && role !== 'replica') return true;
      // Commands wait: it is asked again, and the name may lead to the new primary by then. Sentinels are behind for a moment.
      if (options.sentinels === undefined) this.silentEmit('error', new Error(REPLICA_MESSAGE));
      check(info);
      return false;
    };
    this.#endWatch =
      options.sentinels === undefined ? () => undefined : watchPrimary(options, (primary) => this.#leaveFor(primary));
  }

  override sendCommand(...[command, stream]: [Command, Parameters<Redis['sendCommand']>[1]?]): unknown {
    if (this.status === 'ready' && this.#held === null) this.#hold(this.stream);
    return super.sendCommand(command, stream);
  }

  override disconnect(reconnect?: boolean): void {
    if (reconnect !== true) this.#endWatch();
    super.disconnect(reconnect);
  }

  /** Leaves a Redis that is not the primary any more, also one that hangs and says nothing of it. */
  #leaveFor({ host, port }: PrimaryAddress): void {
    if (this.status !== 'ready') return;
    const { remoteAddress, remotePort } = this.stream as Socket;
    // A name may lead to the address that is there; only another port tells then.
    const isThere =
      remotePort === port && (isIP(host) === 0 || remoteAddress === host || isSameIn6(remoteAddress, host));
    if (!isThere) this.stream.destroy();
  }

  #hold(stream: Redis['stream']): void {
    this.#held = stream;
    stream.cork();
    setImmediate(() => {
      this.#held = null;
      stream.uncork();
    });
  }
}
