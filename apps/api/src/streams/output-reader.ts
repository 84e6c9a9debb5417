import { setTimeout as sleep } from 'node:timers/promises';
import { SystemError } from '@pilum/core/errors/pilum-error.ts';
import { redisFailure } from '@pilum/core/redis/redis-failure.ts';
import type { Following, OutputInbox, OutputListener } from '@pilum/core/replies/output-inbox.ts';
import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import type { FrameRun, LineRun, OutputMessage, OutputStore } from '@pilum/core/store/output-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';

/** Interval at which a reader without messages reads Redis, ms. */
const LOOK_INTERVAL_MS = 2000;
/** Time after which a reader of a new task without messages reads Redis first, ms. */
const FIRST_LOOK_MS = 50;
/** Pause between two tries to read while Redis is away, ms. */
const AGAIN_MS = 1000;
/** Most bytes of waiting messages. Beyond that they are dropped, and Redis is read instead. */
const MOST_WAITING_BYTES = 512 * 1024;
/** Batches of frames in one read. */
const BATCHES_PER_READ = 4;

/** The position of a reader: the numbers of the last frame and the last line that it has. */
export interface Position {
  readonly frame: number;
  readonly line: number;
}

/** The parts of a task's output that a reader wants. */
export interface Wanted {
  readonly frames: boolean;
  readonly lines: boolean;
}

export type OutputItem =
  | { readonly kind: 'frames'; readonly run: FrameRun }
  /** The next lines; the number `dropped` before them are no longer kept. */
  | { readonly kind: 'lines'; readonly run: LineRun; readonly dropped: number }
  /** The last item if the next frames are no longer kept; `oldest` is the first frame that is left, or null. */
  | { readonly kind: 'truncated'; readonly oldest: number | null }
  /** The last item if the task has ended. */
  | { readonly kind: 'end'; readonly outcome: Outcome };

export interface OutputReaderDeps {
  readonly inbox: OutputInbox;
  readonly outputs: OutputStore;
  readonly tasks: TaskStore;
}

/**
 * Reads the output of one task from a position on: each frame and line once and in order, during the task and after it. The reader
 * takes a message that continues its position. In all other cases it reads Redis: at first, after a gap, when it is slower than the
 * messages, when it hears nothing for a while, and at the end.
 *
 *     follow → (look …) → items → close
 */
export class OutputReader implements OutputListener {
  readonly #deps: OutputReaderDeps;
  readonly #task: TaskRef;
  readonly #wanted: Wanted;
  #position: Position;
  #following: Following | null = null;
  #messages: OutputMessage[] = [];
  #messageBytes = 0;
  /** Whether Redis may have output that no message has brought. */
  #isBehind = true;
  #outcome: Outcome | null = null;
  #wake: (() => void) | null = null;
  /** Bytes of all frames that the task is known to have given. */
  #producedBytes = 0;
  #hasHeard = false;
  #firstLook: NodeJS.Timeout | undefined;
  #sender: string | null = null;

  constructor(deps: OutputReaderDeps, task: TaskRef, from: Position, wanted: Wanted) {
    this.#deps = deps;
    this.#task = { namespace: task.namespace, taskId: task.taskId };
    this.#position = from;
    this.#wanted = wanted;
  }

  get position(): Position {
    return this.#position;
  }

  /** Bytes of all frames that the task is known to have given. */
  get producedBytes(): number {
    return this.#producedBytes;
  }

  /** The channel of the worker that runs the task; null while it is unknown. */
  get sender(): string | null {
    return this.#sender;
  }

  /**
   * Starts to listen for messages.
   * @param isNew whether the task is about to be accepted: all its output then comes in messages, and there is nothing to read at first
   */
  follow(isNew: boolean): void {
    this.#isBehind = !isNew;
    const following = this.#deps.inbox.follow(this.#task, this);
    this.#following = following;
    if (!isNew) return;
    following.ready.then(
      () => {
        // The task may have sent output or ended before anyone listened. A later frame needs no more time for this read.
        this.#firstLook = setTimeout(() => {
          if (!this.#hasHeard) void this.#look().then(() => this.#wakeUp());
        }, FIRST_LOOK_MS);
      },
      () => undefined,
    );
  }

  /** Hands the reader the outcome of the task. */
  onOutcome(outcome: Outcome): void {
    this.#hasHeard = true;
    this.#outcome = outcome;
    this.#wakeUp();
  }

  onOutput(message: OutputMessage): void {
    this.#hasHeard = true;
    this.#producedBytes = message.end.bytes;
    this.#sender = message.sender;
    if (!this.#isBehind) {
      this.#messages.push(message);
      for (const { payload } of message.frames.frames) this.#messageBytes += payload.length;
      if (this.#messageBytes > MOST_WAITING_BYTES) this.#letGo();
    }
    this.#wakeUp();
  }

  onGap(): void {
    this.#letGo();
    this.#wakeUp();
  }

  close(): void {
    clearTimeout(this.#firstLook);
    this.#following?.close();
    this.#letGo();
    this.#wakeUp();
  }

  /** Yields the output from the position to the end of the task, or until the signal is aborted. */
  async *items(signal: AbortSignal): AsyncGenerator<OutputItem> {
    while (!signal.aborted) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        for (const { payload } of message.frames.frames) this.#messageBytes -= payload.length;
        const items = this.#newOf(message);
        if (items === null) this.#letGo();
        else {
          for (const item of items) {
            this.#have(item);
            yield item;
          }
        }
      } else if (this.#isBehind) {
        const truncated = yield* this.#readUntilThere(signal);
        if (truncated) return;
      } else if (this.#outcome !== null) {
        if (!this.#isComplete(this.#outcome)) {
          // Output ends before the outcome, so Redis has all of it now.
          const truncated = yield* this.#readUntilThere(signal);
          if (signal.aborted) return;
          if (!truncated && this.#wanted.frames && this.#position.frame < (this.#outcome.frames ?? 0)) {
            yield { kind: 'truncated', oldest: null };
            return;
          }
          if (truncated) return;
        }
        yield { kind: 'end', outcome: this.#outcome };
        return;
      } else await this.#nextSign(signal);
    }
  }

  #isComplete(outcome: Outcome): boolean {
    return !this.#wanted.lines && this.#wanted.frames && this.#position.frame === outcome.frames;
  }

  /** Returns the new items of a message; null if something before them is missing. */
  #newOf({ end, frames, lines }: OutputMessage): OutputItem[] | null {
    const items: OutputItem[] = [];
    const { frame, line } = this.#position;
    if (this.#wanted.lines && end.lines > line) {
      if (lines.after > line || lines.after + lines.lines.length < end.lines) return null;
      items.push({ kind: 'lines', run: linesAfter(lines, line), dropped: 0 });
    }
    if (this.#wanted.frames && end.frames > frame) {
      if (frames.after > frame || frames.after + frames.frames.length < end.frames) return null;
      items.push({ kind: 'frames', run: framesAfter(frames, frame) });
    }
    return items;
  }

  /** Reads Redis until it has nothing new. Returns true if frames are missing, after yielding the item that says so. */
  async *#readUntilThere(signal: AbortSignal): AsyncGenerator<OutputItem, boolean> {
    this.#isBehind = false;
    let lines: LineRun[] = [];
    try {
      if (this.#wanted.lines) lines = await this.#deps.outputs.lines(this.#task);
      for (;;) {
        const runs = this.#wanted.frames ? await this.#readFrames() : [];
        for (const run of runs) {
          if (run.after > this.#position.frame) {
            yield { kind: 'truncated', oldest: run.after + 1 };
            return true;
          }
          while (lines[0] !== undefined && lines[0].afterFrame <= run.after) yield* this.#oldLines(lines.shift());
          const item: OutputItem = { kind: 'frames', run: framesAfter(run, this.#position.frame) };
          this.#have(item);
          yield item;
          if (signal.aborted) return false;
        }
        if (runs.length < BATCHES_PER_READ) break;
      }
      for (const run of lines) yield* this.#oldLines(run);
    } catch (error) {
      const failure = redisFailure(error);
      if (!(failure instanceof SystemError) || failure.code !== 'REDIS_UNAVAILABLE') throw error;
      // The output is still there when Redis comes back.
      await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
      this.#isBehind = true;
    }
    return false;
  }

  async #readFrames(): Promise<FrameRun[]> {
    return await this.#deps.outputs.frames(this.#task, this.#position.frame, BATCHES_PER_READ);
  }

  *#oldLines(run: LineRun | undefined): Generator<OutputItem> {
    if (run === undefined || run.after + run.lines.length <= this.#position.line) return;
    const dropped = Math.max(0, run.after - this.#position.line);
    const item: OutputItem = { kind: 'lines', run: linesAfter(run, this.#position.line), dropped };
    this.#have(item);
    yield item;
  }

  #have(item: OutputItem): void {
    if (item.kind === 'frames') {
      this.#position = { ...this.#position, frame: item.run.after + item.run.frames.length };
      this.#producedBytes = Math.max(this.#producedBytes, item.run.bytes);
    } else if (item.kind === 'lines') {
      this.#position = { ...this.#position, line: item.run.after + item.run.lines.length };
    }
  }

  /** Resolves when a message, an outcome or the interval calls for work. */
  async #nextSign(signal: AbortSignal): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const isLate = await new Promise<boolean>((resolve) => {
      this.#wake = () => resolve(false);
      timer = setTimeout(() => resolve(true), LOOK_INTERVAL_MS);
    });
    clearTimeout(timer);
    this.#wake = null;
    if (isLate && !signal.aborted) await this.#look();
  }

  /** Asks Redis for the outcome and the newest output, in case their messages were lost. */
  async #look(): Promise<void> {
    try {
      const [outcome, end] = await Promise.all([
        this.#deps.tasks.outcome(this.#task),
        this.#deps.outputs.end(this.#task),
      ]);
      if (outcome !== null) this.#outcome = outcome;
      const isBehind =
        (this.#wanted.frames && end.frames > this.#position.frame) ||
        (this.#wanted.lines && end.lines > this.#position.line);
      if (isBehind && this.#messages.length === 0) this.#letGo();
    } catch {
      // The next interval reads it again.
    }
  }

  #letGo(): void {
    this.#messages = [];
    this.#messageBytes = 0;
    this.#isBehind = true;
  }

  #wakeUp(): void {
    this.#wake?.();
  }
}

function framesAfter(run: FrameRun, number: number): FrameRun {
  const skip = number - run.after;
  return skip <= 0 ? run : { ...run, after: number, frames: run.frames.slice(skip) };
}

function linesAfter(run: LineRun, number: number): LineRun {
  const skip = number - run.after;
  return skip <= 0 ? run : { ...run, after: number, lines: run.lines.slice(skip) };
}
