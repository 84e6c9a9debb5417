import type { Redis } from 'ioredis';
import { type Static, Type } from 'typebox';
import { outputChannel, queueKeysOf, taskKeys } from '../redis/keys.ts';
import type { Pieces } from '../redis/pieced-command.ts';
import { readRecord } from '../schemas/check.ts';
import { type Frame, unpackFrames } from '../schemas/frame.ts';
import type { TaskRef } from '../schemas/refs.ts';
import type { Ticket } from '../schemas/task.ts';
import { APPEND_OUTPUT } from './output-scripts.ts';
import { unsettledLifetimeS } from './task-store.ts';

/** The end of the output of a task, over all its attempts. */
export interface OutputEnd {
  /** Number of the last frame; 0 where there is none. */
  readonly frames: number;
  /** Chunks among them. */
  readonly chunks: number;
  /** Bytes of all frames, also of those that are no longer kept. */
  readonly bytes: number;
  /** Number of the last line of the log; 0 where there is none. */
  readonly lines: number;
}

export const NO_OUTPUT: OutputEnd = { frames: 0, chunks: 0, bytes: 0, lines: 0 };

/** A batch that a worker adds to the output of a task. */
export interface OutputBatch {
  readonly before: OutputEnd;
  readonly after: OutputEnd;
  /** Packed. */
  readonly frames: Pieces;
  /** JSON lines, each with its line feed, */
  readonly lines: string;
  /** and the number before the first: larger than that of `before` where some were dropped. */
  readonly linesAfter: number;
  /** Frames with smaller numbers are let go; 0 for none. */
  readonly trimBelow: number;
  /** So many of the oldest batches of lines are let go. */
  readonly dropLogs: number;
  /** The newest progress, as JSON; null where there is nothing new. */
  readonly progress: string | null;
  /** True for the first of this run: the time that Redis keeps it counts anew. */
  readonly isFirst: boolean;
}

/** Frames that follow each other: the first has the number `after` + 1. */
export interface FrameRun {
  readonly after: number;
  readonly frames: readonly Frame[];
  /** Bytes of all frames of the task up to the last of these. */
  readonly bytes: number;
}

/** Lines of a log that follow each other: the first has the number `after` + 1. */
export interface LineRun {
  readonly after: number;
  /** Frames that the task had given before them. */
  readonly afterFrame: number;
  /** As JSON. */
  readonly lines: readonly string[];
}

/** A message on a task's channel. Where it is short of what its numbers say, Redis has the rest. */
export interface OutputMessage {
  readonly end: Pick<OutputEnd, 'frames' | 'lines' | 'bytes'>;
  readonly frames: FrameRun;
  readonly lines: LineRun;
  /** Channel on which the worker hears how far a reader is. */
  readonly sender: string;
}

const LINE_FEED = 0x0a;
const MESSAGE_HEAD = 'output ';

/** The output of a task while it runs: frames and lines of its log, numbered, as Redis keeps them. */
export class OutputStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /**
   * Adds to what a task has given, in order and once.
   * @param claim the token that shows that the job is still the worker's
   * @param sender channel on which this worker hears how far readers are
   * @returns how many processes have heard of it; `late` where the job is another's by now, `settled` where the task has its outcome
   */
  async append(
    ticket: Ticket,
    claim: { readonly token: string },
    batch: OutputBatch,
    sender: string,
  ): Promise<number | 'late' | 'settled'> {
    const { before, after } = batch;
    const answer = await APPEND_OUTPUT.runWithPieces(this.#redis, {
      queue: queueKeysOf(ticket),
      taskId: ticket.taskId,
      token: claim.token,
      lifetimeS: batch.isFirst ? unsettledLifetimeS(ticket) : '',
      channel: outputChannel(ticket),
      sender,
      framesBefore: before.frames,
      framesAfter: after.frames,
      frames: batch.frames,
      bytes: after.bytes,
      chunks: after.chunks,
      trimBelow: batch.trimBelow,
      linesBefore: before.lines,
      linesAfter: after.lines,
      lines: batch.lines,
      dropLogs: batch.dropLogs,
      progress: batch.progress ?? '',
      firstLineAfter: batch.linesAfter,
    });
    return answer as number | 'late' | 'settled';
  }

  /** Returns how far a task's output has come. */
  async end(ref: TaskRef): Promise<OutputEnd> {
    const key = taskKeys(ref).output;
    const [frames, chunks, bytes, lines] = await this.#redis.hmget(key, 'frames', 'chunks', 'bytes', 'lines');
    return {
      frames: Number(frames ?? 0),
      chunks: Number(chunks ?? 0),
      bytes: Number(bytes ?? 0),
      lines: Number(lines ?? 0),
    };
  }

  /** The newest progress, as JSON; null where there is none. */
  async progress(ref: TaskRef): Promise<string | null> {
    return await this.#redis.hget(taskKeys(ref).output, 'progress');
  }

  /**
   * Frames after a number, of one batch at least and of so many at most; empty where there are none. The first may have a
   * smaller number than was asked for, or a larger one, where those before it are no longer kept.
   */
  async frames(ref: TaskRef, after: number, batches: number): Promise<FrameRun[]> {
    const key = taskKeys(ref).frames;
    // An entry bears the number of its last frame.
    const entries = await this.#redis.xrangeBuffer(key, `(${after}-0`, '+', 'COUNT', batches);
    return entries.map(([, fields]) => ({
      after: Number(fields[1]?.toString('latin1')),
      bytes: Number(fields[3]?.toString('latin1')),
      frames: unpackFrames(fields[5] ?? Buffer.alloc(0)),
    }));
  }

  /** All lines of a task's log that are kept. */
  async lines(ref: TaskRef): Promise<LineRun[]> {
    return (await this.#redis.lrange(taskKeys(ref).log, 0, -1)).map(parseLines);
  }

  /** Number of processes that have readers of each task. */
  async readers(tasks: readonly TaskRef[]): Promise<number[]> {
    if (tasks.length === 0) return [];
    const channels = tasks.map(outputChannel);
    const answer = (await this.#redis.pubsub('NUMSUB', ...channels)) as (string | number)[];
    return channels.map((_, index) => Number(answer[2 * index + 1]));
  }

  /** Tells the worker that runs a task how far a reader is. */
  async tellPace(sender: string, pace: Pace): Promise<void> {
    await this.#redis.publish(sender, JSON.stringify(pace));
  }
}

/** The position of the reader that may hold back a function. */
const Pace = Type.Object({
  namespace: Type.String(),
  taskId: Type.String(),
  readerId: Type.String(),
  /** Bytes of frames that it has taken, counted from the first frame of the task. */
  bytes: Type.Number({ minimum: 0, default: 0 }),
  /** True where the reader is gone, or holds nothing back any longer. */
  gone: Type.Optional(Type.Literal(true)),
});
export type Pace = Static<typeof Pace>;

/** Reads a message of {@link OutputStore.tellPace}; null where this release does not know what it says. */
export function parsePace(message: string): Pace | null {
  return readRecord(Pace, JSON.parse(message));
}

/** Lines as they stand in a batch of a log: `<number before the first> <frames before> LF <JSON lines>`. */
export function packLines(after: number, afterFrame: number, lines: string): string {
  return `${after} ${afterFrame}\n${lines}`;
}

function parseLines(text: string): LineRun {
  const feed = text.indexOf('\n');
  const [after, afterFrame] = text.slice(0, feed).split(' ');
  return { after: Number(after), afterFrame: Number(afterFrame), lines: linesOf(text.slice(feed + 1)) };
}

const linesOf = (text: string): string[] => (text === '' ? [] : text.slice(0, -1).split('\n'));

/**
 * Reads a message of a task's channel.
 * @returns null for one that is none of these, and so is its outcome; `isApart` where its frames are the next message, which
 *   {@link withFrames} adds
 */
export function parseOutputMessage(bytes: Buffer): { message: OutputMessage; isApart: boolean } | null {
  if (bytes.toString('latin1', 0, MESSAGE_HEAD.length) !== MESSAGE_HEAD) return null;
  const feed = bytes.indexOf(LINE_FEED);
  const [, afterFrame, lastFrame, frameBytes, afterLine, lastLine, size, sender = ''] = bytes
    .toString('utf8', 0, feed)
    .split(' ');
  const isApart = size === 'apart';
  const framesEnd = feed + 1 + (isApart ? 0 : Number(size));
  const message = {
    end: { frames: Number(lastFrame), bytes: Number(frameBytes), lines: Number(lastLine) },
    frames: {
      after: Number(afterFrame),
      bytes: Number(frameBytes),
      frames: unpackFrames(bytes.subarray(feed + 1, framesEnd)),
    },
    lines: {
      after: Number(afterLine),
      afterFrame: Number(afterFrame),
      lines: linesOf(bytes.toString('utf8', framesEnd)),
    },
    sender,
  };
  return { message, isApart };
}

/** A message with the frames that came apart from it. */
export function withFrames(message: OutputMessage, bytes: Buffer): OutputMessage {
  return { ...message, frames: { ...message.frames, frames: unpackFrames(bytes) } };
}
