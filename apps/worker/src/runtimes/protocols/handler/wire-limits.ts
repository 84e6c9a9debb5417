import { FRAME_HEAD_BYTES, FRAME_KINDS, FRAME_LIMIT_BYTES } from '@pilum/core/schemas/frame.ts';
import { MOST_HEADER_BYTES, MOST_HEADERS } from '@pilum/core/schemas/http-head.ts';
import { CHUNK_WINDOW_BYTES, HEAD_BYTES } from './frames.ts';

/** What both ends hold to, bytes where it is not said otherwise. `tools/generate-docs.ts` writes it into the bootstraps. */
export const WIRE_LIMITS = {
  /** What stands before the meta of a frame: length, type, length of the meta. */
  HEAD_BYTES,
  /** What an error says, and its stack, in characters. */
  MAX_MESSAGE: 8 * 1024,
  MAX_STACK: 16 * 1024,
  /** Of the errors behind an error: how many are told, and what each says, in characters. */
  MAX_CAUSES: 16,
  MAX_CAUSE_MESSAGE: 2048,
  /** Of what is printed, in one LOG frame. */
  MAX_LOG_BYTES: 64 * 1024,
  /** Of what a function says of its progress, as JSON. */
  MAX_PROGRESS: 16 * 1024,
  /** A value that is yielded, as JSON. Longer text and bytes go in pieces. */
  MAX_CHUNK: FRAME_LIMIT_BYTES,
  CHUNK_PIECE: 256 * 1024,
  /** So much of packed chunks may be on its way without credit; where it is, an instance waits. */
  CHUNK_WINDOW: CHUNK_WINDOW_BYTES,
  /** What stands before a chunk: its length and kind. */
  CHUNK_HEAD: FRAME_HEAD_BYTES,
  /** Of the head of a web endpoint's answer: how many headers, and their names and values together. */
  MAX_HEADERS: MOST_HEADERS,
  MAX_HEADER_BYTES: MOST_HEADER_BYTES,
} as const;

/** What a chunk is, in the byte before it. */
export const CHUNK_KINDS = { JSON: FRAME_KINDS.json, TEXT: FRAME_KINDS.text, BYTES: FRAME_KINDS.bytes } as const;
