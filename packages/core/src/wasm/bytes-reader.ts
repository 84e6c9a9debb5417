/** Thrown for bytes that are no WebAssembly module, or none that Pilum runs; the message says what is wrong, after "the module ". */
export class BadModule extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'BadModule';
  }
}

/** Reads the primitives of the binary format (WebAssembly core specification 5.2) from bytes that nobody has checked. */
export class BytesReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get position(): number {
    return this.#at;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** One byte. @throws BadModule at the end */
  byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new BadModule('ends in the middle of something');
    return byte;
  }

  /** An unsigned 32-bit number in LEB128. @throws BadModule where it is longer, or larger */
  u32(): number {
    let value = 0;
    // No bigint: a module may have a million of them.
    for (let place = 1; place <= 2 ** 28; place *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * place;
      if ((byte & 0x80) !== 0) continue;
      if (value > 0xffff_ffff) break;
      return value;
    }
    throw new BadModule('holds a number that is too large, or without end');
  }

  /** An unsigned 64-bit number in LEB128. @throws BadModule where it is longer */
  u64(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw new BadModule('holds a number without end');
  }

  /** So many bytes. @throws BadModule where there are fewer */
  bytes(count: number): Buffer {
    if (count > this.#bytes.length - this.#at) throw new BadModule('ends in the middle of something');
    const bytes = this.#bytes.subarray(this.#at, this.#at + count);
    this.#at += count;
    return bytes;
  }

  /** A name: its length, and UTF-8. @throws BadModule where it does not end */
  name(): string {
    return this.bytes(this.u32()).toString('utf8');
  }

  /**
   * A vector: its length, then so many of what `read` reads.
   * @throws BadModule where there are more than `most`, or than bytes for them, so that a length alone takes no memory
   */
  vector<T>(read: () => T, most = Number.POSITIVE_INFINITY): T[] {
    const count = this.count(most);
    const items: T[] = [];
    for (let i = 0; i < count; i++) items.push(read());
    return items;
  }

  /** The length of a vector. @throws BadModule where it is more than `most`, or than there are bytes */
  count(most: number): number {
    const count = this.u32();
    if (count > most) throw new BadModule(`has ${count} of what may be ${most}`);
    if (count > this.#bytes.length - this.#at) throw new BadModule('ends in the middle of something');
    return count;
  }
}
