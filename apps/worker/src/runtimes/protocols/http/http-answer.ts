import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { FRAME_KINDS, type PackedFrames, packFrame, unpackFrames } from '@pilum/core/schemas/frame.ts';
import { type HttpHead, headerOf } from '@pilum/core/schemas/http-head.ts';
import { HeldBytes } from '../../contract/held-bytes.ts';
import type { CallResult, ChunkSink } from '../../contract/runtime.ts';

/** An answer that is over so soon after its head, ms, */
const HELD_MS = 2;
/** and has no more than so many bytes goes as a whole, with the outcome: frames would cost a command and a message more. */
const HELD_BYTES = 32 * 1024;

const NO_ROOM = 'A part of the answer had come, and the worker needed the room for others.';

/**
 * A web endpoint's answer on its way: small ones that are soon over as a whole, others piece by piece.
 *
 *     begin → take* → end, or close
 */
export class HttpAnswer implements ChunkSink {
  readonly #chunks: ChunkSink | null;
  readonly #limitBytes: number;
  #head: HttpHead | null = null;
  /** Pieces, one after the other; null where it goes on piece by piece. */
  #held: HeldBytes | null;
  #heldCount = 0;
  #wasEvicted = false;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param chunks null where the answer is wanted as a whole in any case
   * @param limitBytes what a whole answer may have at most
   */
  constructor(chunks: ChunkSink | null, limitBytes: number) {
    this.#chunks = chunks;
    this.#limitBytes = limitBytes;
    this.#held = new HeldBytes(() => {
      this.#wasEvicted = true;
    });
  }

  begin(head: HttpHead): void {
    this.#head = head;
    if (this.#chunks !== null) this.#timer = setTimeout(() => this.#letGo(), HELD_MS);
  }

  /**
   * Takes pieces of the body, which then are its own.
   * @returns null where there is room for more; else a promise that resolves when there is, and whoever writes waits for it
   * @throws InstanceError `OUTPUT_TOO_LARGE` where it is wanted as a whole, `INSTANCE_LOST` where the worker has no room for it
   */
  take(packed: PackedFrames): Promise<void> | null {
    if (this.#held === null) return this.#chunks?.take(packed) ?? null;
    this.#held.push(packed.bytes);
    this.#heldCount += packed.count;
    if (this.#wasEvicted) throw new InstanceError('INSTANCE_LOST', { message: NO_ROOM });
    if (this.#chunks !== null) return this.#held.length > HELD_BYTES ? this.#letGo() : null;
    if (this.#held.length > this.#limitBytes) throw new InstanceError('OUTPUT_TOO_LARGE');
    return null;
  }

  /** The answer is whole. */
  end(): CallResult {
    clearTimeout(this.#timer);
    if (this.#wasEvicted) throw new InstanceError('INSTANCE_LOST', { message: NO_ROOM });
    if (this.#held === null || this.#head === null) {
      return { ok: true, streamed: true, contentType: 'application/json', body: Buffer.from('null') };
    }
    const contentType = headerOf(this.#head, 'content-type') ?? 'application/octet-stream';
    return { ok: true, contentType, body: bodyOf(this.#held.take()), head: this.#head };
  }

  /** Gives up the answer: nothing more comes of it. May be called again. */
  close(): void {
    clearTimeout(this.#timer);
    this.#held?.drop();
  }

  /** Passes the answer on piece by piece from now on. */
  #letGo(): Promise<void> | null {
    clearTimeout(this.#timer);
    const held = this.#held;
    this.#held = null;
    this.#chunks?.take(packFrame(FRAME_KINDS.head, Buffer.from(JSON.stringify(this.#head))));
    if (held === null || held.length === 0) return null;
    return this.#chunks?.take({ bytes: held.take(), count: this.#heldCount }) ?? null;
  }
}

/** Pieces of a body, one after the other: what is JSON, as lines. */
function bodyOf(held: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (const { kind, payload } of unpackFrames(held)) {
    parts.push(payload);
    if (kind === FRAME_KINDS.json) parts.push(LINE_FEED);
  }
  return Buffer.concat(parts);
}

const LINE_FEED = Buffer.from('\n');
