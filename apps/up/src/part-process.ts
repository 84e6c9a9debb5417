import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import type { Ending } from './ending.ts';
import { LogLines } from './log-lines.ts';
import type { ProcessRecord } from './process-record.ts';

/** Longest time that the last lines of a log may take to arrive after the process itself has ended, ms. */
const LAST_LINES_MS = 250;

export interface PartCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** Whether we can talk to it: it hears of our end by the channel's, however we end. */
  readonly ipc: boolean;
  readonly onLine: (line: string) => void;
  /** Place where its pid is kept while it runs. */
  readonly record: ProcessRecord;
}

/**
 * A process of a part. It leads a process group of its own: Ctrl-C on a terminal goes to us alone, and we stop the
 * parts in their order.
 */
export class PartProcess {
  /** Settles when it has ended and its log is read; never rejects. */
  readonly ended: Promise<Ending>;
  readonly #child: ChildProcess;
  #over = false;
  #stopping = false;

  constructor({ command, args, env, ipc, onLine, record }: PartCommand) {
    const options: SpawnOptions = {
      env,
      detached: true,
      stdio: ipc ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
    };
    this.#child = spawn(command, args, options);
    try {
      if (this.#child.pid !== undefined) record.write(this.#child.pid);
    } catch (error) {
      // A full disk is no reason to go down; only the next `up` would miss the record, and only after a SIGKILL.
      onLine(`its process could not be recorded: ${(error as Error).message}`);
    }
    const logs = [this.#child.stdout, this.#child.stderr].map((stream) => {
      const lines = new LogLines(onLine);
      stream?.on('data', (chunk: Buffer) => lines.write(chunk));
      return lines;
    });
    // A channel that breaks is a process that ends, and that is told by its exit.
    if (ipc) this.#child.on('error', () => {});
    this.ended = this.#end(logs, record);
  }

  /** Whether it has been told to stop. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** Calls `listener` for each message of the process. */
  onMessage(listener: (message: unknown) => void): void {
    this.#child.on('message', listener);
  }

  /** SIGTERM, and SIGKILL after `graceMs`. Resolves when it has ended. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    if (!this.#over) this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), graceMs);
    await this.ended;
    clearTimeout(timer);
  }

  /** SIGKILL, to its whole group. */
  kill(): void {
    if (!this.#over) this.#killGroup();
  }

  async #end(logs: readonly LogLines[], record: ProcessRecord): Promise<Ending> {
    const closed = new Promise<void>((done) => this.#child.once('close', () => done()));
    const ending = await new Promise<Ending>((done) => {
      this.#child.once('exit', (code, signal) => done({ code, signal }));
      this.#child.once('error', (error) => {
        if (this.#child.pid === undefined) done({ code: null, signal: null, error });
      });
    });
    this.#over = true;
    // What it had started in its group goes with it; a pipe that such a child holds would never close, either.
    this.#killGroup();
    record.erase();
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([closed, new Promise((done) => (timer = setTimeout(done, LAST_LINES_MS)))]);
    clearTimeout(timer);
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    for (const lines of logs) lines.end();
    return ending;
  }

  #killGroup(): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // Nobody is left in it.
    }
  }
}
