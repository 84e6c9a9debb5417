import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import { LOG_LEVELS, type LogLevel } from '@pilum/core/schemas/log.ts';
import { readGuarded } from '../../contract/intake.ts';
import type { LogLine, LogSink } from '../../contract/runtime.ts';
import { LineSplitter } from './line-splitter.ts';
import { Throttle } from './throttle.ts';

/** The time for reading pipes after the end of all processes, when nothing should hold them open, ms. */
const DRAIN_MS = 1000;

type OutputStream = 'stdout' | 'stderr';

/** The cost of a line beside its bytes: it becomes a record. */
const LINE_COST = 64;
/** The cost of a read of a pipe, however little there was in it. */
const READ_COST = 32;
/** The length of the last output that is kept for error messages, in UTF-16 units. */
const LAST_OUTPUT = 4 * 1024;

/**
 * Everything that one instance prints, as lines, to the log of the task that runs; the last of it is kept for error
 * messages. Output that is printed while no task runs goes nowhere else.
 */
export class OutputCapture {
  readonly throttle = new Throttle();
  /** The lines of output through pipes, which is a stream apart from the output in frames: a line is of one of them. */
  readonly #piped: Record<OutputStream, LineSplitter>;
  readonly #framed: Record<OutputStream, LineSplitter>;
  readonly #levels: Record<OutputStream, LogLevel> = { stdout: 'info', stderr: 'error' };
  readonly #open = new Set<Promise<void>>();
  readonly #onBroken: (thrown: unknown) => void;
  #sink: LogSink | null = null;
  #last: string[] = [];
  #lastLength = 0;

  /** @param onBroken ends the instance: something that it has printed could not be taken */
  constructor(onBroken: (thrown: unknown) => void) {
    this.#onBroken = onBroken;
    this.#piped = {
      stdout: new LineSplitter((line) => this.#line('stdout', 'info', line)),
      stderr: new LineSplitter((line) => this.#line('stderr', 'error', line)),
    };
    this.#framed = {
      stdout: new LineSplitter((line) => this.#line('stdout', this.#levels.stdout, line)),
      stderr: new LineSplitter((line) => this.#line('stderr', this.#levels.stderr, line)),
    };
  }

  /** The last lines that were printed. */
  get lastOutput(): string {
    return this.#last.join('\n').slice(-LAST_OUTPUT);
  }

  /** Reads a pipe from now on. */
  attach(stream: Readable, name: OutputStream): void {
    this.throttle.add(stream);
    this.#open.add(closed(stream));
    const take = (chunk: Buffer) => {
      this.throttle.spend(READ_COST);
      this.#split(this.#piped[name], chunk);
    };
    readGuarded(stream, take, this.#onBroken);
  }

  /** The channel waits with the pipes, as output comes over it as well; whoever attaches it reads it. */
  attachChannel(channel: Readable): void {
    this.throttle.add(channel);
    this.#open.add(closed(channel));
  }

  /** Bytes that were printed and came as a frame. */
  write(name: OutputStream, level: unknown, bytes: Buffer): void {
    this.#levels[name] = levelOf(level);
    this.#split(this.#framed[name], bytes);
  }

  /** A record that the function made through its context. */
  record(level: unknown, text: string, fields: Readonly<Record<string, unknown>> | undefined): void {
    const entry = { atMs: sharedNow(), stream: 'log', level: levelOf(level), text } as const;
    this.#give(fields === undefined ? entry : { ...entry, fields });
    this.throttle.spend(LINE_COST);
  }

  /** Gives output to the log of this task from now on. */
  begin(sink: LogSink): void {
    this.flush();
    this.#sink = sink;
  }

  /** The task is over. */
  finish(): void {
    this.flush();
    this.#sink = null;
  }

  flush(): void {
    for (const { stdout, stderr } of [this.#framed, this.#piped]) {
      stdout.flush();
      stderr.flush();
    }
  }

  /** Reads what is left in the pipes, after the end of all processes. */
  async drain(): Promise<void> {
    this.throttle.lift();
    await Promise.race([Promise.all(this.#open), sleep(DRAIN_MS, undefined, { ref: false })]);
    this.flush();
  }

  #split(splitter: LineSplitter, bytes: Buffer): void {
    const lines = splitter.push(bytes);
    this.throttle.spend(bytes.length + lines * LINE_COST);
  }

  #line(stream: OutputStream, level: LogLevel, text: string): void {
    this.#give({ atMs: sharedNow(), stream, level, text });
  }

  #give(line: LogLine): void {
    this.#remember(line.text);
    try {
      this.#sink?.write(line);
    } catch (thrown) {
      this.#sink = null;
      this.#onBroken(thrown);
    }
  }

  #remember(text: string): void {
    this.#last.push(text);
    this.#lastLength += text.length + 1;
    if (this.#lastLength < 2 * LAST_OUTPUT) return;
    const kept = this.#last.join('\n').slice(-LAST_OUTPUT);
    this.#last = [kept];
    this.#lastLength = kept.length;
  }
}

const levelOf = (level: unknown): LogLevel => LOG_LEVELS.find((known) => known === level) ?? 'info';

function closed(stream: Readable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once('close', () => resolve());
  stream.on('error', () => resolve());
  return promise;
}
