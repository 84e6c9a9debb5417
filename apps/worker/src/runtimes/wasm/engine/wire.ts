import { encodeFrame, type FrameType, frameHead } from '../../protocols/handler/frames.ts';
import type { EngineCall, EngineOutcome, ModuleSource, StreamName } from './engine.ts';

/**
 * The messages between a worker and its engine's process, in frames as ../../protocols/handler/frames.ts has them. Numbers of
 * calls and of questions are the worker's; an answer has that of its question.
 */
export const ENGINE_FRAMES = {
  /** An order to the engine: {@link PrepareMessage}. The answer is READY or FAILED. */
  PREPARE: 20,
  /** An order to the engine: {@link CallMessage}, with the payload. The answer is RESULT. */
  CALL: 21,
  /** An order to the engine: `{id}`. */
  ABORT: 22,
  /** An order to the engine: `{key}`. */
  RELEASE: 23,
  /** An order to the engine: `{id, bytes}`, for a call whose output is streamed. */
  GRANT: 25,
  /** A question to the engine, whether it is there. The answer is PONG. */
  PING: 24,
  /** The engine's first word, once: {@link HelloMessage}. */
  HELLO: 30,
  READY: 31,
  /** `{id, message}` */
  FAILED: 32,
  /** {@link ResultMessage}, with the body. */
  RESULT: 33,
  /** {@link WrittenMessage}, with the bytes. */
  WRITTEN: 34,
  PONG: 35,
} as const;

export interface HelloMessage {
  readonly engine: 'wasmtime' | 'v8';
  readonly version: string;
  readonly compatibility: string;
}

export interface PrepareMessage extends ModuleSource {
  readonly id: number;
  readonly key: string;
}

export type CallMessage = Omit<EngineCall, 'payload'>;

/** The end of a call; a result's bytes are the frame's payload. */
export interface ResultMessage {
  readonly id: number;
  readonly kind: EngineOutcome['kind'];
  readonly code?: number;
  readonly message?: string;
}

export interface WrittenMessage {
  readonly id: number;
  readonly stream: StreamName;
}

type EngineFrame = (typeof ENGINE_FRAMES)[keyof typeof ENGINE_FRAMES];

/** The size up to which a copy is cheaper than a second system call, bytes. */
const ONE_WRITE_BYTES = 64 * 1024;

/** Sends a frame. */
export function writeFrame(
  channel: { write(bytes: Uint8Array): unknown; cork(): void; uncork(): void },
  type: EngineFrame,
  meta: unknown,
  payload: Buffer = Buffer.alloc(0),
): void {
  // One format for all kinds of frames; which kinds there are is this file's matter.
  const frameType = type as number as FrameType;
  if (payload.length <= ONE_WRITE_BYTES) {
    channel.write(encodeFrame(frameType, meta, payload));
    return;
  }
  channel.cork();
  channel.write(frameHead(frameType, meta, payload.length));
  channel.write(payload);
  channel.uncork();
}
