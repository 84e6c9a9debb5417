import { isUtf8 } from 'node:buffer';

/**
 * The wire between a worker and a handler instance: one socket, binary frames both ways.
 *
 *     u32 length of the rest | u8 type | u32 length of meta | meta, JSON in UTF-8 | payload, raw bytes
 *
 * Numbers are big-endian. Payloads are never parsed on the way. The bootstraps hold the other end of this file.
 */
export const FRAME_TYPES = {
  LOAD: 1,
  CALL: 2,
  READY: 3,
  RESULT: 4,
  ERROR: 5,
  LOG: 6,
  ABORT: 7,
  /** Are you there? */
  PING: 8,
  /** The answer, from the event loop. */
  PONG: 9,
  /** Before there is code: do now what the first load would have to do; the answer is a PONG. */
  PREPARE: 10,
  /** Of a streamed call: pieces of its output, packed as Redis keeps them. */
  CHUNK: 11,
  /** So many bytes of chunks are let on: those that were taken. */
  CREDIT: 12,
  /** What the function says of its progress, as JSON. */
  PROGRESS: 13,
  /** Of a web endpoint's answer: what stands before its chunks. */
  HEAD: 14,
} as const;
export type FrameType = (typeof FRAME_TYPES)[keyof typeof FRAME_TYPES];

export interface Frame {
  readonly type: number;
  /** JSON text; read it with {@link parseMeta}. */
  readonly meta: Buffer;
  readonly payload: Buffer;
}

/** So many bytes of packed chunks may be on their way without credit; where they are, an instance waits. */
export const CHUNK_WINDOW_BYTES = 256 * 1024;

const LENGTH_BYTES = 4;
const HEAD_BYTES = 9;

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

/** Cuts a stream of chunks into frames. The other side is not trusted: sizes are checked before anything is kept. */
export class FrameReader {
  readonly #maxBytes: (type: number) => number;
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Bytes that must be there before the next look makes sense. */
  #needed = HEAD_BYTES;

  /** @param maxBytes largest frame of a type, head included; 0 for a type that may not come. */
  constructor(maxBytes: (type: number) => number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes a chunk in and yields the frames that are complete with it.
   * @throws BadFrame; the reader cannot be used after that
   */
  *push(chunk: Buffer): Generator<Frame> {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    while (this.#buffered >= this.#needed) {
      this.#needed = this.#lengthOf(this.#front(Math.min(this.#buffered, HEAD_BYTES)));
      if (this.#buffered < this.#needed) break;
      const data = this.#front(this.#needed);
      this.#drop(this.#needed);
      this.#needed = HEAD_BYTES;
      const metaEnd = HEAD_BYTES + data.readUInt32BE(LENGTH_BYTES + 1);
      yield {
        type: data.readUInt8(LENGTH_BYTES),
        meta: data.subarray(HEAD_BYTES, metaEnd),
        payload: data.subarray(metaEnd),
      };
    }
  }

  /** The first bytes, in one piece: a copy only where they came in more than one. */
  #front(size: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= size) return first.subarray(0, size);
    return Buffer.concat(this.#chunks, size); // the last is cut: what is behind stays where it is
  }

  #drop(size: number): void {
    this.#buffered -= size;
    let rest = size;
    while (rest > 0) {
      const [first] = this.#chunks;
      if (first === undefined) return;
      if (first.length > rest) {
        this.#chunks[0] = first.subarray(rest);
        return;
      }
      rest -= first.length;
      this.#chunks.shift();
    }
  }

  /** Bytes of the frame that `data` begins with; a head's where even that is not complete. */
  #lengthOf(data: Buffer): number {
    if (data.length < HEAD_BYTES) return HEAD_BYTES;
    const length = LENGTH_BYTES + data.readUInt32BE(0);
    const type = data.readUInt8(LENGTH_BYTES);
    const allowed = this.#maxBytes(type);
    if (allowed === 0 || length < HEAD_BYTES) throw new BadFrame(type, false);
    if (length > allowed) throw new BadFrame(type, true);
    if (HEAD_BYTES + data.readUInt32BE(LENGTH_BYTES + 1) > length) throw new BadFrame(type, false);
    return length;
  }
}
