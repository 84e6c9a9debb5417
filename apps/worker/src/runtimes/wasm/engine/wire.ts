import { encodeFrame, type FrameType, frameHead } from '../../protocols/handler/frames.ts';
import type { EngineCall, EngineOutcome, ModuleSource, StreamName } from './engine.ts';

/**
 * What a worker and its engine's process say to each other, in frames as ../../process/frames.ts has them. Numbers of
 * calls and of questions are the worker's; an answer has that of its question.
 */
export const ENGINE_FRAMES = {
  /** To the engine: {@link PrepareMessage}. The answer is READY or FAILED. */
  PREPARE: 20,
  /** To the engine: {@link CallMessage}, with the payload. The answer is RESULT. */
  CALL: 21,
  /** To the engine: `{id}`. */
  ABORT: 22,
  /** To the engine: `{key}`. */
  RELEASE: 23,
  /** To the engine: `{id, bytes}`, for a call whose output is streamed. */
  GRANT: 25,
  /** To the engine: are you there? The answer is PONG. */
  PING: 24,
  /** From the engine, once: {@link HelloMessage}. */
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

/** How a call ended; a result's bytes are the frame's payload. */
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

/** Up to here a copy is cheaper than a second system call. */
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
