import { FRAME_HEAD_BYTES, FRAME_KINDS, FRAME_LIMIT_BYTES } from '@pilum/core/schemas/frame.ts';
import { MOST_HEADER_BYTES, MOST_HEADERS } from '@pilum/core/schemas/http-head.ts';
import { CHUNK_WINDOW_BYTES, HEAD_BYTES } from './frames.ts';

/**
 * The limits that both ends hold to, bytes where it is not said otherwise. `tools/generate-docs.ts` writes them into the
 * bootstraps.
 */
export const WIRE_LIMITS = {
  /** The bytes before the meta of a frame: length, type, length of the meta. */
  HEAD_BYTES,
  /** The length of an error's message, and of its stack, in characters. */
  MAX_MESSAGE: 8 * 1024,
  MAX_STACK: 16 * 1024,
  /** The errors behind an error: how many are told, and how long the message of each is, in characters. */
  MAX_CAUSES: 16,
  MAX_CAUSE_MESSAGE: 2048,
  /** The printed output in one LOG frame. */
  MAX_LOG_BYTES: 64 * 1024,
  /** The function's word on its progress, as JSON. */
  MAX_PROGRESS: 16 * 1024,
  /** A value that is yielded, as JSON. Longer text and bytes go in pieces. */
  MAX_CHUNK: FRAME_LIMIT_BYTES,
  CHUNK_PIECE: 256 * 1024,
  /** The packed chunks that may be on their way without credit; an instance waits where they are. */
  CHUNK_WINDOW: CHUNK_WINDOW_BYTES,
  /** The bytes before a chunk: its length and kind. */
  CHUNK_HEAD: FRAME_HEAD_BYTES,
  /** The head of a web endpoint's answer: how many headers, and the bytes of their names and values together. */
  MAX_HEADERS: MOST_HEADERS,
  MAX_HEADER_BYTES: MOST_HEADER_BYTES,
} as const;

/** The kind of a chunk, in the byte before it. */
export const CHUNK_KINDS = { JSON: FRAME_KINDS.json, TEXT: FRAME_KINDS.text, BYTES: FRAME_KINDS.bytes } as const;
