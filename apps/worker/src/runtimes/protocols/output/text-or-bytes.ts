import { isUtf8 } from 'node:buffer';
import { type ChunkKind, FRAME_KINDS } from '@pilum/core/schemas/frame.ts';

export interface Piece {
  readonly kind: ChunkKind;
  readonly payload: Buffer;
}

/**
 * Tells text from bytes in output that comes in pieces, which may end in the middle of a character: those of its bytes
 * wait for the rest.
 */
export class TextOrBytes {
  #held: Buffer = Buffer.alloc(0);

  /** A piece that can be passed on; null where all of it waits. */
  push(bytes: Buffer): Piece | null {
    const all = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    const end = all.length - begunCharacter(all);
    this.#held = all.subarray(end);
    return end === 0 ? null : pieceOf(all.subarray(0, end));
  }

  /** Returns what still waits when there is no more. */
  rest(): Piece | null {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    return held.length === 0 ? null : pieceOf(held);
  }
}

function pieceOf(payload: Buffer): Piece {
  return { kind: isUtf8(payload) ? FRAME_KINDS.text : FRAME_KINDS.bytes, payload };
}

/** Counts the bytes at the end that begin a character of UTF-8 (RFC 3629, section 3) that is not complete; up to 3. */
function begunCharacter(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue; // goes on a character
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}
