/**
 * One piece of a task's output, as it is kept: a chunk by what its bytes are; progress, restart and head as JSON. A head
 * stands before the chunks of a web endpoint's answer ({@link HttpHead}), and there is one at most.
 * Lines of the log are no frames: they are kept, numbered and bounded by themselves.
 */
export const FRAME_KINDS = { json: 1, text: 2, bytes: 3, progress: 4, restart: 5, head: 6 } as const;
export type FrameKind = (typeof FRAME_KINDS)[keyof typeof FRAME_KINDS];
/** The kinds of frames that a function may yield. */
export type ChunkKind = typeof FRAME_KINDS.json | typeof FRAME_KINDS.text | typeof FRAME_KINDS.bytes;

export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

/** Largest payload of one frame, bytes. */
export const FRAME_LIMIT_BYTES = 1_048_576;

const HEAD_BYTES = 5;

/** Length of the head before the payload of a packed frame, bytes. */
export const FRAME_HEAD_BYTES = HEAD_BYTES;

/** Frames one after the other, each `u32 length of the payload, big-endian | u8 kind | payload`. */
export interface PackedFrames {
  readonly bytes: Buffer;
  readonly count: number;
}

/** One frame, packed. */
export function packFrame(kind: FrameKind, payload: Buffer): PackedFrames {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + payload.length);
  bytes.writeUInt32BE(payload.length, 0);
  bytes[4] = kind;
  payload.copy(bytes, HEAD_BYTES);
  return { bytes, count: 1 };
}

/**
 * Counts the chunks in bytes that somebody else has packed.
 * @returns null where they are none, or one is larger than a frame may be
 */
export function countChunks(bytes: Buffer): number | null {
  let count = 0;
  let at = 0;
  while (at + HEAD_BYTES <= bytes.length) {
    const size = bytes.readUInt32BE(at);
    const kind = bytes[at + 4] ?? 0;
    if (size > FRAME_LIMIT_BYTES || kind < FRAME_KINDS.json || kind > FRAME_KINDS.bytes) return null;
    at += HEAD_BYTES + size;
    count++;
  }
  return at === bytes.length ? count : null;
}

/** The frames that were packed; their payloads are views of the same bytes. */
export function unpackFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; ) {
    const end = at + HEAD_BYTES + bytes.readUInt32BE(at);
    frames.push({ kind: bytes.readUInt8(at + 4) as FrameKind, payload: bytes.subarray(at + HEAD_BYTES, end) });
    at = end;
  }
  return frames;
}
