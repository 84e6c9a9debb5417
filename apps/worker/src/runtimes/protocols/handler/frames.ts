import { isUtf8 } from 'node:buffer';
import { HeldBytes } from '../../contract/held-bytes.ts';

/**
 * The wire between a worker and a handler instance: one socket, binary frames both ways.
 *
 *     u32 length of the rest | u8 type | u32 length of meta | meta, JSON in UTF-8 | payload, raw bytes
 *
 * Numbers are big-endian. Payloads are never parsed on the way. The bootstraps hold the other end of this file. Beside it an
 * engine gets the one file that it imports, held-bytes.ts.
 */
export const FRAME_TYPES = {
  LOAD: 1,
  CALL: 2,
  READY: 3,
  RESULT: 4,
  ERROR: 5,
  LOG: 6,
  ABORT: 7,
  /** A question whether the instance is there. */
  PING: 8,
  /** The answer, from the event loop. */
  PONG: 9,
  /** An order before there is code, to do now what the first load would have to do; the answer is a PONG. */
  PREPARE: 10,
  /** The pieces of a streamed call's output, packed as Redis keeps them. */
  CHUNK: 11,
  /** A permission for so many bytes of chunks more: those that were taken. */
  CREDIT: 12,
  /** The function's word on its progress, as JSON. */
  PROGRESS: 13,
  /** The head of a web endpoint's answer, which stands before its chunks. */
  HEAD: 14,
} as const;
export type FrameType = (typeof FRAME_TYPES)[keyof typeof FRAME_TYPES];

export interface Frame {
  readonly type: number;
  /** JSON text; read it with {@link parseMeta}. */
  readonly meta: Buffer;
  readonly payload: Buffer;
}

/** The bytes of packed chunks that may be on their way without credit; an instance waits where they are. */
export const CHUNK_WINDOW_BYTES = 256 * 1024;

const LENGTH_BYTES = 4;
/** The bytes before the meta of a frame: length, type, length of the meta. */
export const HEAD_BYTES = 9;

/** Thrown by {@link FrameReader} for a frame that is larger than its type may be, or is none. */
export class BadFrame extends Error {
  readonly type: number;
  readonly tooLarge: boolean;

  /** @param what is wrong with it, where more can be said than that it is none */
  constructor(type: number, tooLarge: boolean, what?: string) {
    super(
      tooLarge
        ? `a frame of type ${type} is larger than it may be`
        : what === undefined
          ? 'what came is not a frame'
          : `a frame of type ${type} is not as it must be: ${what}`,
    );
    this.name = 'BadFrame';
    this.type = type;
    this.tooLarge = tooLarge;
  }
}

/** Head and meta of a frame; the payload is written after it as it is, without a copy. */
export function frameHead(type: FrameType, meta: unknown, payloadBytes: number): Buffer {
  return encodeHead(type, JSON.stringify(meta), payloadBytes, 0);
}

/** A whole frame in one buffer: for small ones, where one write costs more than a copy. */
export function encodeFrame(type: FrameType, meta: unknown, payload: Buffer = NOTHING): Buffer {
  const frame = encodeHead(type, JSON.stringify(meta), payload.length, payload.length);
  payload.copy(frame, frame.length - payload.length);
  return frame;
}

const NOTHING = Buffer.alloc(0);

/** @param room bytes that are left free behind the meta */
function encodeHead(type: FrameType, json: string, payloadBytes: number, room: number): Buffer {
  const metaBytes = Buffer.byteLength(json);
  const head = Buffer.allocUnsafe(HEAD_BYTES + metaBytes + room);
  head.writeUInt32BE(HEAD_BYTES - LENGTH_BYTES + metaBytes + payloadBytes, 0);
  head[LENGTH_BYTES] = type;
  head.writeUInt32BE(metaBytes, LENGTH_BYTES + 1);
  head.write(json, HEAD_BYTES, metaBytes, 'utf8');
  return head;
}

/**
 * The meta of a frame as an object.
 * @throws BadFrame where it is not a JSON object
 */
export function parseMeta(frame: Frame): Record<string, unknown> {
  let meta: unknown;
  if (!isUtf8(frame.meta)) throw new BadFrame(frame.type, false, 'its meta is not UTF-8');
  try {
    meta = JSON.parse(frame.meta.toString('utf8'));
  } catch {
    throw new BadFrame(frame.type, false, 'its meta is not JSON');
  }
  if (typeof meta !== 'object' || meta === null || Array.isArray(meta)) {
    throw new BadFrame(frame.type, false, 'its meta is not a JSON object');
  }
  return meta as Record<string, unknown>;
}

export interface FrameLimits {
  /** Largest frame of a type, head included; 0 for a type that may not come now. Asked when its head is there. */
  readonly frame: (type: number) => number;
  /** Largest meta of a type. */
  readonly meta?: (type: number) => number;
}

/** Cuts a stream of chunks into frames. The other side is not trusted: sizes are checked before anything is kept. */
export class FrameReader {
  readonly #limits: FrameLimits;
  /** The beginning of a frame. */
  readonly #held: HeldBytes;
  /** Bytes of that frame, or of its head where that is not complete. */
  #needed = HEAD_BYTES;

  /**
   * @param limits how large frames may be, or the largest frame of a type
   * @param onEvicted the worker has no room for the frame that has begun; the reader cannot be used after that
   */
  constructor(limits: FrameLimits | FrameLimits['frame'], onEvicted: () => void = () => {}) {
    this.#limits = typeof limits === 'function' ? { frame: limits } : limits;
    this.#held = new HeldBytes(onEvicted);
  }

  /**
   * Takes a chunk in and yields the frames that are complete with it.
   * @throws BadFrame; the reader cannot be used after that
   */
  *push(chunk: Buffer): Generator<Frame> {
    let at = 0;
    while (at < chunk.length) {
      const there = chunk.length - at;
      if (this.#held.length > 0) {
        at += this.#hold(chunk, at);
        if (this.#held.length < this.#needed) return;
        if (this.#needed === HEAD_BYTES) this.#needed = this.#lengthOf(this.#held.bytes);
        if (this.#held.length < this.#needed) continue;
        this.#needed = HEAD_BYTES;
        yield frameOf(this.#held.take());
        continue;
      }
      // Nearly always a frame is whole, and nothing is copied.
      const length = there < HEAD_BYTES ? HEAD_BYTES : this.#lengthOf(chunk.subarray(at, at + HEAD_BYTES));
      if (there < length) {
        this.#needed = length;
        this.#hold(chunk, at);
        return;
      }
      const frame = frameOf(chunk.subarray(at, at + length));
      at += length;
      yield frame;
    }
  }

  /** Forgets the frame that has begun; the reader cannot be used after that. */
  close(): void {
    this.#held.drop();
  }

  /** Keeps what the chunk has of the frame; returns how much that is. */
  #hold(chunk: Buffer, at: number): number {
    const size = Math.min(this.#needed - this.#held.length, chunk.length - at);
    this.#held.push(chunk.subarray(at, at + size), this.#needed);
    return size;
  }

  /** Bytes of the frame that has this head. */
  #lengthOf(head: Buffer): number {
    const length = LENGTH_BYTES + head.readUInt32BE(0);
    const type = head.readUInt8(LENGTH_BYTES);
    const metaBytes = head.readUInt32BE(LENGTH_BYTES + 1);
    const allowed = this.#limits.frame(type);
    if (allowed === 0 || length < HEAD_BYTES) throw new BadFrame(type, false);
    if (length > allowed) throw new BadFrame(type, true);
    if (HEAD_BYTES + metaBytes > length) throw new BadFrame(type, false);
    if (metaBytes > (this.#limits.meta?.(type) ?? length)) {
      throw new BadFrame(type, false, `its meta has ${metaBytes} bytes, which is more than it may`);
    }
    return length;
  }
}

function frameOf(data: Buffer): Frame {
  const metaEnd = HEAD_BYTES + data.readUInt32BE(LENGTH_BYTES + 1);
  return {
    type: data.readUInt8(LENGTH_BYTES),
    meta: data.subarray(HEAD_BYTES, metaEnd),
    payload: data.subarray(metaEnd),
  };
}
