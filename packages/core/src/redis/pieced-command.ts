import { Command } from 'ioredis';

/** One argument of a command, in pieces that follow each other. */
export class Pieces {
  readonly list: readonly Buffer[];
  /** Bytes of all. */
  readonly length: number;

  constructor(list: readonly Buffer[]) {
    this.list = list;
    this.length = list.reduce((sum, { length }) => sum + length, 0);
  }
}

/** The stream that a command is written to. */
interface Socket {
  write(data: Buffer | string): unknown;
}

/**
 * A command with one argument that is written from its pieces, as they are: ioredis would copy all of a command that has bytes
 * in it, and put together what came in parts first. Written as RESP says (https://redis.io/docs/latest/develop/reference/protocol-spec/).
 */
export class PiecedCommand extends Command {
  readonly #deps: readonly (string | number | Buffer | Pieces)[];

  constructor(name: string, deps: readonly (string | number | Buffer | Pieces)[]) {
    // What ioredis sees of the pieces is for its logs alone.
    super(
      name,
      deps.map((part) => (part instanceof Pieces ? '' : part)),
      { replyEncoding: 'utf8' },
    );
    this.#deps = deps;
  }

  /** Writes all but the end of itself, which its caller writes. */
  override toWritable(socket: object): string {
    const to = socket as Socket;
    let text = `*${this.#deps.length + 1}\r\n$${this.name.length}\r\n${this.name}\r\n`;
    const writeBytes = (bytes: readonly Buffer[], length: number) => {
      to.write(`${text}$${length}\r\n`);
      for (const piece of bytes) to.write(piece);
      text = '\r\n';
    };
    for (const part of this.#deps) {
      if (part instanceof Pieces) writeBytes(part.list, part.length);
      else if (part instanceof Buffer) writeBytes([part], part.length);
      else {
        const argument = String(part);
        text += `$${Buffer.byteLength(argument)}\r\n${argument}\r\n`;
      }
    }
    return text;
  }
}
