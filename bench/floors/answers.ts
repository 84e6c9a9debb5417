import { Redis } from 'ioredis';
import { ANSWERS, unpack } from './list-wire.ts';

/** The answers that callers of this process wait for, as they come over one channel. */
export class Answers {
  readonly #waiting = new Map<string, (bytes: Buffer) => void>();
  #lastId = 0;

  static async open(path: string): Promise<Answers> {
    const answers = new Answers();
    const subscriber = new Redis({ path });
    subscriber.on('messageBuffer', (_channel: Buffer, message: Buffer) => {
      const { id, bytes } = unpack(message);
      answers.#waiting.get(id)?.(bytes);
      answers.#waiting.delete(id);
    });
    await subscriber.subscribe(ANSWERS);
    return answers;
  }

  /** A new id, and the answer to it. */
  expect(): { id: string; answer: Promise<Buffer> } {
    const id = String(++this.#lastId);
    return { id, answer: new Promise((resolve) => this.#waiting.set(id, resolve)) };
  }
}
