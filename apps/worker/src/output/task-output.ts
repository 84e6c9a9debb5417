import { setTimeout as sleep } from 'node:timers/promises';
import { Pieces } from '@pilum/core/redis/pieced-command.ts';
import { FRAME_KINDS, type PackedFrames, packFrame } from '@pilum/core/schemas/frame.ts';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import {
  NO_OUTPUT,
  type OutputBatch,
  type OutputEnd,
  type OutputStore,
  packLines,
} from '@pilum/core/store/output-store.ts';
import type { ChunkSink, LogLine, LogSink } from '../runtimes/contract/runtime.ts';
import { FrameWindow, LogWindow } from './kept-window.ts';
import { LineBuffer } from './line-buffer.ts';
import type { Pacing } from './pacing.ts';

/** From one batch to the next at least, ms, unless it is full. */
const FRAME_GAP_MS = 4;
/** Lines and progress wait for others so long, ms: a task that is over by then costs no command of its own. */
const LINE_GAP_MS = 200;
/** A batch holds so many bytes of frames, or what came as one. */
const BATCH_BYTES = 128 * 1024;
/** Bytes of frames that Redis has not taken: beyond it the function waits. */
const MOST_PENDING_BYTES = 256 * 1024;
/** Bytes of lines that do not wait for more. */
const LINES_AT_ONCE_BYTES = 32 * 1024;
/** Between two tries where Redis takes no writes, ms. */
const AGAIN_MS = 250;

export interface OutputLimits {
  readonly logBytes: number;
  readonly windowBytes: number;
  readonly windowFrames: number;
}

export interface TaskOutputDeps {
  readonly store: OutputStore;
  readonly limits: OutputLimits;
  /** Channel on which this worker hears how far readers are. */
  readonly sender: string;
  readonly ticket: Ticket;
  readonly token: string;
  /** Null for a task that is not streamed. */
  readonly pacing: Pacing | null;
}

/**
 * The output of one task while this worker runs it, on its way to Redis in batches. What is written is numbered at once, kept until
 * Redis has it, and added in order; once the task is another worker's, or settled, it goes nowhere.
 */
export class TaskOutput implements LogSink, ChunkSink {
  /** The attempt that lines are of from now on. */
  attempt: number;
  readonly #deps: TaskOutputDeps;
  #windows: { readonly frames: FrameWindow; readonly log: LogWindow } | null = null;
  #lines: LineBuffer;
  #frames: Piece[] = [];
  #frameBytes = 0;
  #progress: string | null = null;
  /** The last that was said of progress. */
  #lastProgress: string | null = null;
  /** The end of the output in Redis, with the batch that is under way. */
  #end: OutputEnd = NO_OUTPUT;
  #batch: OutputBatch | null = null;
  #adding: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #timerIsForFrames = false;
  #addedAtMs = 0;
  #hasAdded = false;
  #isFinishing = false;
  #isOver = false;
  #isSuperseded = false;
  #room: PromiseWithResolvers<void> | null = null;

  constructor(deps: TaskOutputDeps) {
    this.#deps = deps;
    this.attempt = deps.ticket.attempt;
    this.#lines = new LineBuffer(deps.limits.logBytes, 0);
  }

  /** Goes on from what earlier runs have given. To be awaited before anything is written. */
  async resume(): Promise<void> {
    const { store, limits, ticket, pacing } = this.#deps;
    this.#end = await store.end(ticket);
    if (this.#end.lines > 0) {
      for (const { lines } of await store.lines(ticket)) this.#window.log.add(sizeOf(lines));
    }
    this.#lines = new LineBuffer(limits.logBytes, this.#end.lines);
    this.#window.frames.add({ last: this.#end.frames, bytes: this.#end.bytes });
    pacing?.produced(this.#end.bytes);
  }

  /** Something of it is in Redis, or on its way there. */
  get hasAdded(): boolean {
    return this.#hasAdded || this.#end !== NO_OUTPUT;
  }

  /** Chunks over all attempts. */
  get chunkCount(): number {
    return this.#end.chunks + sum(this.#frames, ({ chunks }) => chunks);
  }

  /** Number of the last frame; 0 where there is none. */
  get frames(): number {
    return this.#end.frames + sum(this.#frames, ({ count }) => count);
  }

  /** The last that was said of progress, as JSON; null where nothing was. */
  get lastProgress(): string | null {
    return this.#lastProgress;
  }

  write(line: LogLine): void {
    if (this.#isOver) return;
    this.#lines.push(line, this.attempt);
    if (this.#lines.size >= LINES_AT_ONCE_BYTES && this.#isTimeForLines()) this.#add();
    else this.#addIn(LINE_GAP_MS, false);
  }

  progress(json: string): void {
    if (this.#isOver) return;
    this.#progress = json;
    this.#lastProgress = json;
    this.#addIn(LINE_GAP_MS, false);
  }

  take(packed: PackedFrames): Promise<void> | null {
    this.#frame({ ...packed, chunks: packed.count });
    if (this.#isOver) return null;
    if (this.#frameBytes > MOST_PENDING_BYTES) {
      this.#room ??= Promise.withResolvers();
      return this.#room.promise.then(() => this.#deps.pacing?.whenFree() ?? undefined);
    }
    return this.#deps.pacing?.whenFree() ?? null;
  }

  /** Whether frames were not taken because the task is another worker's by now, whose frames follow those that were. */
  get isSuperseded(): boolean {
    return this.#isSuperseded;
  }

  /** Everything before was given by an attempt that came to nothing. */
  restart(reason: string): void {
    const payload = Buffer.from(JSON.stringify({ attempt: this.attempt, reason }));
    this.#frame({ ...packFrame(FRAME_KINDS.restart, payload), chunks: 0 });
  }

  /**
   * Resolves when Redis has everything, or the task is no longer this worker's. May be called again after it has thrown.
   * @throws what Redis throws; nothing is lost by it
   */
  async finish(): Promise<void> {
    this.#isFinishing = true;
    this.#clearTimer();
    while (!this.#isOver) {
      if (this.#adding !== null) await this.#adding;
      else if (!this.#take()) return;
      else await this.#send();
    }
  }

  /** Nothing more is wanted of it. */
  close(): void {
    this.#isOver = true;
    this.#clearTimer();
    this.#frames = [];
    this.#frameBytes = 0;
    this.#letOn();
  }

  /** The lines of a task of which nothing was added before: they travel with its outcome. Undefined where there are none. */
  takeLog(): string | undefined {
    this.#clearTimer();
    const taken = this.#lines.takeAll();
    return taken === null ? undefined : packLines(taken.after, this.#end.frames, taken.text);
  }

  #frame(piece: Piece): void {
    if (this.#isOver) return;
    if (this.#progress !== null) this.#takeProgress();
    this.#frames.push(piece);
    this.#frameBytes += piece.bytes.length;
    if (this.#adding !== null) return; // it goes on by itself
    const gap = FRAME_GAP_MS - (performance.now() - this.#addedAtMs);
    if (gap <= 0 || this.#frameBytes >= BATCH_BYTES) this.#add();
    else this.#addIn(gap, true);
  }

  /** Progress is a frame among the others from when it is added on. */
  #takeProgress(): void {
    if (this.#progress === null) return;
    const packed = packFrame(FRAME_KINDS.progress, Buffer.from(this.#progress));
    this.#frames.push({ ...packed, chunks: 0, isProgress: true });
    this.#frameBytes += packed.bytes.length;
    this.#progress = null;
  }

  /** The windows of what is kept of it. Made when something is added: most tasks end before, and every task is on the hot path. */
  get #window(): { readonly frames: FrameWindow; readonly log: LogWindow } {
    const { windowFrames, windowBytes, logBytes } = this.#deps.limits;
    this.#windows ??= {
      frames: new FrameWindow({ frames: windowFrames, bytes: windowBytes }),
      log: new LogWindow(logBytes),
    };
    return this.#windows;
  }

  #isTimeForLines(): boolean {
    return this.#adding === null && performance.now() - this.#addedAtMs >= FRAME_GAP_MS;
  }

  #addIn(ms: number, forFrames: boolean): void {
    if (this.#isOver || this.#isFinishing) return;
    if (this.#timer !== null) {
      if (this.#timerIsForFrames || !forFrames) return;
      this.#clearTimer();
    }
    this.#timerIsForFrames = forFrames;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#add();
    }, ms);
  }

  #clearTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #add(): void {
    if (this.#adding !== null || this.#isOver || !this.#take()) return;
    this.#clearTimer();
    this.#adding = this.#sendUntilTaken().finally(() => {
      this.#adding = null;
      if (this.#frames.length > 0) {
        if (this.#frameBytes >= BATCH_BYTES) this.#add();
        else this.#addIn(Math.max(0, FRAME_GAP_MS - (performance.now() - this.#addedAtMs)), true);
      } else if (!this.#lines.isEmpty || this.#progress !== null) this.#addIn(LINE_GAP_MS, false);
    });
  }

  /** Redis may be away for a while: what waits is bounded, and the function waits with it. */
  async #sendUntilTaken(): Promise<void> {
    while (!this.#isOver && this.#batch !== null) {
      try {
        await this.#send();
      } catch {
        if (this.#isFinishing) return;
        await sleep(AGAIN_MS);
      }
    }
  }

  /** Makes the next batch, unless one is waiting to be sent again; false where there is nothing to send. */
  #take(): boolean {
    if (this.#batch !== null) return true;
    this.#takeProgress();
    const taken = this.#lines.takeAll();
    if (this.#frames.length === 0 && taken === null) return false;
    let size = 0;
    let count = 0;
    for (const { bytes } of this.#frames) {
      size += bytes.length;
      if (count > 0 && size > BATCH_BYTES) break;
      count++;
    }
    const pieces = this.#frames.splice(0, count);
    const frames = new Pieces(pieces.map(({ bytes }) => bytes));
    const before = this.#end;
    const after: OutputEnd = {
      frames: before.frames + sum(pieces, (piece) => piece.count),
      chunks: before.chunks + sum(pieces, ({ chunks }) => chunks),
      bytes: before.bytes + frames.length,
      lines: taken?.last ?? before.lines,
    };
    const isFirst = !this.#hasAdded;
    this.#batch = {
      before,
      after,
      linesAfter: taken?.after ?? before.lines,
      frames,
      lines: taken?.text ?? '',
      trimBelow: frames.length === 0 ? 0 : this.#window.frames.add({ last: after.frames, bytes: after.bytes }),
      dropLogs: taken === null ? 0 : this.#window.log.add(taken.text.length),
      progress: pieces.some(({ isProgress }) => isProgress === true) ? this.#lastProgress : null,
      isFirst,
    };
    this.#hasAdded = true;
    this.#end = after;
    this.#addedAtMs = performance.now();
    return true;
  }

  async #send(): Promise<void> {
    const batch = this.#batch;
    if (batch === null) return;
    const { store, ticket, token, sender, pacing } = this.#deps;
    const answer = await store.append(ticket, { token }, batch, sender);
    this.#batch = null;
    this.#frameBytes -= batch.after.bytes - batch.before.bytes;
    if (typeof answer === 'string') {
      this.#isSuperseded = answer === 'late';
      this.close();
      return;
    }
    pacing?.produced(batch.after.bytes);
    pacing?.readers(answer);
    if (this.#frameBytes <= MOST_PENDING_BYTES / 2) this.#letOn();
  }

  #letOn(): void {
    this.#room?.resolve();
    this.#room = null;
  }
}

/** Frames that came together. */
interface Piece extends PackedFrames {
  /** Chunks among them. */
  readonly chunks: number;
  readonly isProgress?: true;
}

const sum = <T>(list: readonly T[], of: (one: T) => number) => list.reduce((total, one) => total + of(one), 0);
const sizeOf = (lines: readonly string[]) => sum(lines, (line) => line.length + 1);
