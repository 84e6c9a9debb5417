import { type Command, Redis } from 'ioredis';

/**
 * A connection that writes the commands of one event-loop turn together: a write wakes another process, which costs more than
 * a command. ioredis's own way (`enableAutoPipelining`) makes an object of some hundred properties for each turn, and keeps
 * the next turn's commands until the last one's are answered.
 */
export class BatchingRedis extends Redis {
  #held: Redis['stream'] | null = null;

  override sendCommand(...[command, stream]: [Command, Parameters<Redis['sendCommand']>[1]?]): unknown {
    if (this.status === 'ready' && this.#held === null) this.#hold(this.stream);
    return super.sendCommand(command, stream);
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
