import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { FRAME_KINDS, FRAME_LIMIT_BYTES, packFrame } from '@pilum/core/schemas/frame.ts';
import type { CallResult, ChunkSink } from '../runtimes/contract/runtime.ts';
import { TextOrBytes } from '../runtimes/protocols/output/text-or-bytes.ts';

/** Text and bytes go in pieces of this, bytes. */
const PIECE_BYTES = 256 * 1024;

/**
 * Gives what a streamed task has returned as a whole as the output that its readers wait for. It is there already, so nobody waits
 * for room.
 * @throws InstanceError `OUTPUT_TOO_LARGE` where it is JSON that no frame can hold
 */
export function giveWhole(output: ChunkSink, { contentType, body }: Extract<CallResult, { ok: true }>): void {
  if (contentType === 'application/json') {
    if (body.length > FRAME_LIMIT_BYTES) {
      throw new InstanceError('OUTPUT_TOO_LARGE', {
        message: `As a frame of a stream, JSON may have ${FRAME_LIMIT_BYTES} bytes; yield it in parts, or call the function without a stream.`,
        details: { sizeBytes: body.length, limitBytes: FRAME_LIMIT_BYTES },
      });
    }
    output.take(packFrame(FRAME_KINDS.json, body));
    return;
  }
  const pieces = new TextOrBytes();
  for (let at = 0; at < body.length; at += PIECE_BYTES) {
    const piece = pieces.push(body.subarray(at, at + PIECE_BYTES));
    if (piece !== null) output.take(packFrame(piece.kind, piece.payload));
  }
  const rest = pieces.rest();
  if (rest !== null) output.take(packFrame(rest.kind, rest.payload));
}
