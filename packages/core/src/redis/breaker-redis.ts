import { Command, type Redis } from 'ioredis';
import { SystemError } from '../errors/pilum-error.ts';
import { BatchingRedis } from './batching-redis.ts';
import { type ConnectOptions, redisOptions } from './connect.ts';

export interface BreakerOptions extends ConnectOptions {
  /** A Redis that has not answered for so long counts as away, ms: nothing waits for it any longer. */
  readonly giveUpAfterMs: number;
}

/** In `giveUpAfterMs` Redis is asked so many times for a sign of life, */
const PROBES = 10;
/** and so many of them without one are enough: the first silent one may have begun a probe late. */
const SILENT_PROBES = PROBES - 1;

/** The queues of ioredis that are private, or not declared, and have to be emptied. */
interface Waiting {
  readonly prevCommandQueue: { shift(): { command: Command } | undefined } | undefined | null;
  flushQueue(error: Error, queues: { offlineQueue: boolean; commandQueue: boolean }): void;
}

/**
 * A connection whose commands do not wait for ever: what an API wants, whose callers have deadlines. It is a circuit
 * breaker:
 *
 *     closed ──no answer for giveUpAfterMs──▶ open (isAway) ──Redis answers──▶ closed
 *
 * While it is closed, commands wait out a short absence and are sent again, as on any connection. When it opens, all that
 * wait fail with SystemError `REDIS_UNAVAILABLE`, and so does each new one at once; what has failed is never sent again.
 * ioredis by itself keeps commands that have timed out, and sends them when Redis is back. One that was written to a
 * silent Redis may still be carried out when it wakes, so what must not come late carries its own limit.
 *
 * It closes by itself: ioredis goes on trying to connect, and asks Redis before it says `ready`.
 */
export class BreakerRedis extends BatchingRedis {
  readonly #giveUpAfterMs: number;
  readonly #timer: NodeJS.Timeout;
  #isAway = false;
  #isProbing = false;
  #hasAnswered = false;
  #silentProbes = 0;

  /** @param onError is told of errors of the connection, and once when Redis counts as away */
  constructor(options: BreakerOptions, onError: (error: Error) => void) {
    super({
      ...redisOptions(options),
      // For commands that ioredis may lose track of; all others fail before, together.
      commandTimeout: 2 * options.giveUpAfterMs,
    });
    this.#giveUpAfterMs = options.giveUpAfterMs;
    this.on('error', onError);
    this.on('ready', () => {
      this.#isAway = false;
      this.#silentProbes = 0;
    });
    this.#timer = setInterval(() => this.#probe(), options.giveUpAfterMs / PROBES);
    this.#timer.unref();
  }

  /** Whether Redis counts as away: then every command fails at once. */
  get isAway(): boolean {
    return this.#isAway;
  }

  /** Makes the error that its commands fail with while it is away. */
  awayError(): SystemError {
    return new SystemError('REDIS_UNAVAILABLE', {
      message: `Redis has not answered for ${this.#giveUpAfterMs / 1000} s and is not waited for.`,
    });
  }

  override sendCommand(...[command, stream]: Parameters<Redis['sendCommand']>): unknown {
    if (!this.#isAway || this.#isOfHandshake(command, stream)) return super.sendCommand(command, stream);
    command.reject(this.awayError());
    return command.promise;
  }

  override disconnect(reconnect?: boolean): void {
    if (reconnect !== true) clearInterval(this.#timer);
    super.disconnect(reconnect);
  }

  /** Whether a command belongs to making the connection, which goes on while Redis is away. */
  #isOfHandshake(command: Command, stream: unknown): boolean {
    return this.status === 'connect' && stream === undefined && Command.checkFlag('HANDSHAKE_COMMANDS', command.name);
  }

  /**
   * Notes whether there was a sign of life since the last time, and asks for the next. Times are counted, not measured: a
   * process that was held up itself learns nothing about Redis.
   */
  #probe(): void {
    this.#silentProbes = this.#hasAnswered ? 0 : this.#silentProbes + 1;
    this.#hasAnswered = false;
    if (this.#silentProbes >= SILENT_PROBES) this.#giveUp();
    if (this.#isProbing || this.status !== 'ready' || this.#isAway) return;
    this.#isProbing = true;
    this.ping()
      .then(
        () => {
          this.#hasAnswered = true;
        },
        () => undefined,
      )
      .finally(() => {
        this.#isProbing = false;
      });
  }

  #giveUp(): void {
    const error = new SystemError('REDIS_UNAVAILABLE', {
      message: `Redis has not answered for ${this.#giveUpAfterMs / 1000} s and is not waited for any longer.`,
    });
    if (!this.#isAway) this.silentEmit('error', error);
    this.#isAway = true;
    this.#silentProbes = 0;
    const { status } = this;
    const waiting = this as unknown as Waiting;
    // Before the connection is ready, the command queue holds its handshake.
    waiting.flushQueue(error, { offlineQueue: true, commandQueue: status === 'ready' });
    // What was in flight when a connection broke waits here to be sent again.
    for (let item = waiting.prevCommandQueue?.shift(); item !== undefined; item = waiting.prevCommandQueue?.shift()) {
      item.command.reject(error);
    }
    // A connection that is silent is not waited for, nor one that does not become ready. Destroyed and not ended: what it
    // has not written yet must not be.
    if (status === 'ready' || status === 'connect') this.stream.destroy();
  }
}
