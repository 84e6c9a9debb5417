import { BadArchive } from './bad-archive.ts';

/** Reads a stream of chunks in the sizes that its reader asks for, and holds no more of it than a chunk. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);
  #position = 0;

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Bytes that were read or skipped. */
  get position(): number {
    return this.#position;
  }

  /** So many bytes; fewer at the end of the stream, and then no more of them. */
  async readUpTo(count: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let left = count;
    while (left > 0) {
      const part = await this.some(left);
      if (part === null) break;
      parts.push(part);
      left -= part.length;
    }
    const [only] = parts;
    return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
  }

  /** @throws BadArchive where there are not so many */
  async read(count: number): Promise<Buffer> {
    const bytes = await this.readUpTo(count);
    if (bytes.length < count) throw new BadArchive('it ends too early: it was cut off, or is no such archive');
    return bytes;
  }

  /** Reads what is there at once, up to so many bytes; null at the end. */
  async some(most: number): Promise<Buffer | null> {
    while (this.#chunk.length === 0) {
      const next = await this.#chunks.next();
      if (next.done) return null;
      this.#chunk = next.value;
    }
    const part = this.#chunk.subarray(0, most);
    this.#chunk = this.#chunk.subarray(part.length);
    this.#position += part.length;
    return part;
  }

  /** @throws BadArchive where there are not so many */
  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; ) {
      const part = await this.some(left);
      if (part === null) throw new BadArchive('it ends too early: it was cut off, or is no such archive');
      left -= part.length;
    }
  }

  /** Gives up the stream. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
