import { setTimeout as sleep } from 'node:timers/promises';
import { SystemError } from '@pilum/core/errors/pilum-error.ts';
import { redisFailure } from '@pilum/core/redis/redis-failure.ts';
import type { Following, OutputInbox, OutputListener } from '@pilum/core/replies/output-inbox.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import type { FrameRun, LineRun, OutputMessage, OutputStore } from '@pilum/core/store/output-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';

/** How often a reader who hears nothing looks at Redis itself, ms. */
const LOOK_INTERVAL_MS = 2000;
/** A new task that nothing was heard of is looked at after this, ms. */
const FIRST_LOOK_MS = 50;
/** Between two tries to read while Redis is away, ms. */
const AGAIN_MS = 1000;
/** Messages that a reader has not taken, bytes: beyond it they are let go, and Redis is read. */
const MOST_WAITING_BYTES = 512 * 1024;
/** Batches of frames that are read at once. */
const BATCHES_PER_READ = 4;

/** What a reader has: the numbers of the last frame and of the last line. */
export interface Position {
  readonly frame: number;
  readonly line: number;
}

/** What of a task's output a reader wants. */
export interface Wanted {
  readonly frames: boolean;
  readonly lines: boolean;
}

export type OutputItem =
  | { readonly kind: 'frames'; readonly run: FrameRun }
  /** Lines that follow the last one; `dropped` before them are no longer kept. */
  | { readonly kind: 'lines'; readonly run: LineRun; readonly dropped: number }
  /** Frames that it wants next are no longer kept; the oldest that is left, or null for none. The last item. */
  | { readonly kind: 'truncated'; readonly oldest: number | null }
  /** The last item. */
  | { readonly kind: 'end'; readonly outcome: Outcome };

export interface OutputReaderDeps {
  readonly inbox: OutputInbox;
  readonly outputs: OutputStore;
  readonly tasks: TaskStore;
}

/**
 * Reads what one task gives, from a position on, each frame and line once and in order, while it runs and after. It takes what
 * comes in messages where that follows on what it has, and reads Redis in any other case: at first, after a gap, where it was
 * slower than the messages, when it hears nothing for a while, and at the end.
 *
 *     follow → (look …) → items → close
 */
export class OutputReader implements OutputListener {
  readonly #deps: OutputReaderDeps;
  readonly #task: { readonly namespace: string; readonly taskId: string };
  readonly #wanted: Wanted;
  #position: Position;
  #following: Following | null = null;
  #messages: OutputMessage[] = [];
  #messageBytes = 0;
  /** Redis may have what no message has brought. */
  #isBehind = true;
  #outcome: Outcome | null = null;
  #wake: (() => void) | null = null;
  /** Bytes of all frames that the task is known to have given. */
  #producedBytes = 0;
  #hasHeard = false;
  #firstLook: NodeJS.Timeout | undefined;
  #sender: string | null = null;

  constructor(
    deps: OutputReaderDeps,
    task: { readonly namespace: string; readonly taskId: string },
    from: Position,
    wanted: Wanted,
  ) {
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

  /** The channel of the worker that runs it; null where it is not known yet. */
  get sender(): string | null {
    return this.#sender;
  }

  /**
   * Hears messages from now on.
   * @param isNew the task is not accepted yet: what it gives will come in messages, and there is nothing to be read at first
   */
  follow(isNew: boolean): void {
    this.#isBehind = !isNew;
    const following = this.#deps.inbox.follow(this.#task.namespace, this.#task.taskId, this);
    this.#following = following;
    if (!isNew) return;
    following.ready.then(
      () => {
        // Should it have given something, or have ended, before it was heard. If not, the way to the first frame is no longer.
        this.#firstLook = setTimeout(() => {
          if (!this.#hasHeard) void this.#look().then(() => this.#wakeUp());
        }, FIRST_LOOK_MS);
      },
      () => undefined,
    );
  }

  /** The task has ended so. */
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

  /** Everything from the position on, to the end of the task; it ends early where the signal is aborted. */
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
          // Nothing is added after an outcome: what Redis has now is all.
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

  /** What of a message is new; null where something before it is missing. */
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

  /** Reads until nothing more is there; true where frames are missing, and then it has said so. */
  async *#readUntilThere(signal: AbortSignal): AsyncGenerator<OutputItem, boolean> {
    this.#isBehind = false;
    let lines: LineRun[] = [];
    try {
      if (this.#wanted.lines) lines = await this.#deps.outputs.lines(this.#task.namespace, this.#task.taskId);
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
      // Redis comes back, and everything is there then.
      await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
      this.#isBehind = true;
    }
    return false;
  }

  async #readFrames(): Promise<FrameRun[]> {
    const { namespace, taskId } = this.#task;
    return await this.#deps.outputs.frames(namespace, taskId, this.#position.frame, BATCHES_PER_READ);
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

  /** Resolves when there is something to do. */
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

  /** A message is a hint, Redis is the truth. */
  async #look(): Promise<void> {
    const { namespace, taskId } = this.#task;
    try {
      const [outcome, end] = await Promise.all([
        this.#deps.tasks.outcome(namespace, taskId),
        this.#deps.outputs.end(namespace, taskId),
      ]);
      if (outcome !== null) this.#outcome = outcome;
      const isBehind =
        (this.#wanted.frames && end.frames > this.#position.frame) ||
        (this.#wanted.lines && end.lines > this.#position.line);
      if (isBehind && this.#messages.length === 0) this.#letGo();
    } catch {
      // It is looked at again.
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
