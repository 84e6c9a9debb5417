import { packFrame } from '@pilum/core/schemas/frame.ts';
import type { ChunkSink } from '../contract/runtime.ts';
import { type Piece, TextOrBytes } from '../protocols/output/text-or-bytes.ts';

/** The bytes that a module may write before whoever reads them has taken any. */
const CREDIT_BYTES = 256 * 1024;
/** An engine passes on whole pieces: the last one may go so far beyond the credit, bytes. */
const PIECE_BYTES = 64 * 1024;
/** Credit is given back in such amounts, so that small pieces do not cost a message each, bytes. */
const GRANT_BYTES = 64 * 1024;

/** The output of one streamed call, passed on piece by piece: the module waits where nobody takes it. */
export class StreamedOutput {
  /** The bytes that the module may write at first. */
  readonly creditBytes = CREDIT_BYTES;
  readonly #chunks: ChunkSink;
  readonly #grant: (bytes: number) => void;
  readonly #onBroken: (thrown: unknown) => void;
  readonly #pieces = new TextOrBytes();
  #credit = CREDIT_BYTES + PIECE_BYTES;
  #taken = 0;

  /**
   * @param grant lets the module write so many bytes more
   * @param onBroken ends the call: what was written could not be taken
   */
  constructor(chunks: ChunkSink, grant: (bytes: number) => void, onBroken: (thrown: unknown) => void) {
    this.#chunks = chunks;
    this.#grant = grant;
    this.#onBroken = onBroken;
  }

  /** Takes what was written; false where that is more than there was credit for: the engine is not what it should be. */
  push(bytes: Buffer): boolean {
    this.#credit -= bytes.length;
    if (this.#credit < 0) return false;
    const piece = this.#pieces.push(bytes);
    const wait = piece === null ? null : this.#give(piece);
    if (wait === null) this.#giveBack(bytes.length);
    else wait.then(() => this.#giveBack(bytes.length), this.#onBroken);
    return true;
  }

  /** Takes note that there is no more output. */
  finish(): void {
    const rest = this.#pieces.rest();
    if (rest !== null) this.#give(rest)?.catch(this.#onBroken);
  }

  #give({ kind, payload }: Piece): Promise<void> | null {
    return this.#chunks.take(packFrame(kind, payload));
  }

  #giveBack(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken < GRANT_BYTES) return;
    this.#credit += this.#taken;
    this.#grant(this.#taken);
    this.#taken = 0;
  }
}
