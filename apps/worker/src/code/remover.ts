import { type ChildProcess, spawn } from 'node:child_process';
import { rmdirSync, unlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';

/** Longest time that one removal may take, ms; what is left then is for the next start of a worker. */
const LIMIT_MS = 10 * 60_000;
const NICENESS = 10;

/**
 * Removes directories in the background, one after the other, in processes of their own: how much there is in one, and
 * how deep it is, is up to whoever deployed it, and nobody here waits for that.
 */
export class Remover {
  readonly #logger: Logger;
  readonly #line: string[] = [];
  readonly #known = new Set<string>();
  #working: Promise<void> | null = null;
  #process: ChildProcess | null = null;
  #isClosed = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Removes what has been moved out of everybody's way. What is one file, or an empty directory, is gone at once. */
  remove(path: string): void {
    if (this.#isClosed || this.#known.has(path) || removeAtOnce(path)) return;
    this.#known.add(path);
    this.#line.push(path);
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
  }

  /** Gives up; the rest is removed by the next worker that starts here. May be awaited twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#line.length = 0;
    this.#process?.kill('SIGKILL');
    await this.#working;
  }

  async #work(): Promise<void> {
    for (let path = this.#line.shift(); path !== undefined; path = this.#line.shift()) {
      const failure = await this.#removeOne(path);
      this.#known.delete(path);
      if (failure !== null && !this.#isClosed) {
        logEvent(this.#logger, 'directory-not-removed', { path, err: failure });
      }
    }
  }

  /** @returns why it could not be removed; null where it is gone */
  #removeOne(path: string): Promise<string | null> {
    const { promise, resolve } = Promise.withResolvers<string | null>();
    // It goes down by descriptors: the depth of what it removes is no matter to it, and it follows no link.
    const child = spawn('rm', ['-rf', '--', path], { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' });
    this.#process = child;
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      if (said.length < 500) said += chunk.toString('utf8').slice(0, 500);
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code === 0 ? null : said.trim() || `${signal ?? code}`));
    try {
      if (child.pid !== undefined) setPriority(child.pid, NICENESS);
    } catch {
      // It has ended already.
    }
    return promise.finally(() => {
      clearTimeout(timer);
      this.#process = null;
    });
  }
}

function removeAtOnce(path: string): boolean {
  for (const remove of [rmdirSync, unlinkSync]) {
    try {
      remove(path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
    }
  }
  return false;
}
