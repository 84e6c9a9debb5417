/**
 * One piece of a task's output, as it is kept: a chunk by what its bytes are, progress and restart as JSON.
 * Lines of the log are no frames: they are kept, numbered and bounded by themselves.
 */
export const FRAME_KINDS = { json: 1, text: 2, bytes: 3, progress: 4, restart: 5 } as const;
export type FrameKind = (typeof FRAME_KINDS)[keyof typeof FRAME_KINDS];
/** What a function may yield. */
export type ChunkKind = typeof FRAME_KINDS.json | typeof FRAME_KINDS.text | typeof FRAME_KINDS.bytes;

export interface Frame {
  readonly kind: FrameKind;
  readonly payload: Buffer;
}

/** Largest payload of one frame, bytes. */
export const FRAME_LIMIT_BYTES = 1_048_576;

const HEAD_BYTES = 5;

/** What a frame takes in a batch, bytes. */
export const frameSize = ({ payload }: Frame): number => HEAD_BYTES + payload.length;

/** Frames as one run of bytes, each `u32 length of the payload, big-endian | u8 kind | payload`. */
export function packFrames(frames: readonly Frame[]): Buffer {
  const parts: Buffer[] = [];
  for (const { kind, payload } of frames) {
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head.writeUInt32BE(payload.length, 0);
    head[4] = kind;
    parts.push(head, payload);
  }
  return Buffer.concat(parts);
}

/** The frames of {@link packFrames}; their payloads are views of the same bytes. */
export function unpackFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; ) {
    const end = at + HEAD_BYTES + bytes.readUInt32BE(at);
    frames.push({ kind: bytes.readUInt8(at + 4) as FrameKind, payload: bytes.subarray(at + HEAD_BYTES, end) });
    at = end;
  }
  return frames;
}

/** What stands in a `restart` frame: everything before it was given by an attempt that came to nothing. */
export interface Restart {
  readonly attempt: number;
  readonly reason: string;
}
