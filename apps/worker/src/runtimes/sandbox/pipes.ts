import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, fchmodSync, openSync, readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { childrenOf, signalProcess } from './proc.ts';

/** Made at once: some milliseconds for all of them. */
const BATCH = 16;
/** The number of pipes below which more are made. */
const LOW = 6;
/** A shell that has not made them by then will not, ms. */
const MAKE_LIMIT_MS = 10_000;
/** The pause between two looks at how far the shell is, ms. */
const LOOK_MS = 1;

/** A pipe with one end here and the other for a process that is about to be made. */
export interface PipeEnds {
  /** The end that stays, as a stream. */
  readonly stream: Socket;
  /** The descriptor that the process gets; to be closed here when it has it. */
  readonly theirs: number;
}

/** The descriptors of both ends, in this process alone. */
interface Pipe {
  readonly reading: number;
  readonly writing: number;
}

/**
 * Makes the pipes of instances. Node gives a child sockets, and a socket cannot be opened as `/dev/stdin` or
 * `/dev/stdout`, as programs do; a named pipe can, but whoever opens it after its writer has gone waits for ever. Node makes
 * no others, and so a shell is asked for some, ahead of their use: the ends of its pipeline are opened here, and it goes.
 */
export class Pipes {
  readonly #ready: Pipe[] = [];
  #making: Promise<void> | null = null;

  /** A pipe that the process reads. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
  async toProcess(): Promise<PipeEnds> {
    const { reading, writing } = await this.#take();
    return { stream: new Socket({ fd: writing, readable: false, writable: true }), theirs: reading };
  }

  /** A pipe that the process writes. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
  async fromProcess(): Promise<PipeEnds> {
    const { reading, writing } = await this.#take();
    return { stream: new Socket({ fd: reading, readable: true, writable: false }), theirs: writing };
  }

  /** Closes those that were made ahead. */
  async close(): Promise<void> {
    await this.#making?.catch(() => undefined);
    for (const { reading, writing } of this.#ready.splice(0)) {
      closeSync(reading);
      closeSync(writing);
    }
  }

  async #take(): Promise<Pipe> {
    for (;;) {
      const pipe = this.#ready.pop();
      if (pipe === undefined) await this.#refill();
      else {
        // Made while there are some left, so that few starts wait for it; one that has to is told what is wrong.
        if (this.#ready.length < LOW) this.#refill().catch(() => undefined);
        return pipe;
      }
    }
  }

  #refill(): Promise<void> {
    this.#making ??= this.#make().finally(() => {
      this.#making = null;
    });
    return this.#making;
  }

  async #make(): Promise<void> {
    // Each stage waits for the one before it, and the first for this process.
    const pipeline = Array(BATCH + 1)
      .fill('read -r _')
      .join(' | ');
    const shell = spawn('/bin/sh', ['-c', pipeline], { stdio: ['pipe', 'ignore', 'ignore'], env: {}, detached: true });
    shell.stdin.on('error', () => {}); // its end says more
    const ended = once(shell, 'exit');
    try {
      if (shell.pid === undefined) await ended;
      const made = await pipesOf(shell.pid as number);
      signalProcess(-(shell.pid as number), 'SIGKILL');
      await gone(made.stages);
      this.#ready.push(...made.pipes);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `No pipe can be made: ${why}`, cause: error });
    } finally {
      // All of its stages: with their pipes open here, none of them would see an end.
      if (shell.pid !== undefined) signalProcess(-shell.pid, 'SIGKILL');
      shell.stdin.destroy();
      await ended.catch(() => undefined);
    }
  }
}

/** Opens both ends of every pipe in the pipeline that a shell runs; returns them with the inputs of the stages that read them. */
async function pipesOf(shell: number): Promise<{ readonly pipes: Pipe[]; readonly stages: readonly string[] }> {
  const giveUpAtMs = performance.now() + MAKE_LIMIT_MS;
  for (;;) {
    const stages = (await childrenOf(shell)).map((pid) => `/proc/${pid}/fd/0`).filter(isPipe);
    if (stages.length >= BATCH) return { pipes: stages.map(openBoth), stages };
    if (performance.now() > giveUpAtMs) throw new Error(`/bin/sh has made ${stages.length} of ${BATCH}`);
    await sleep(LOOK_MS);
  }
}

/**
 * Waits until stages that were killed have closed their inputs. One that has the signal, and has not run since, would still take the
 * first byte that is written.
 */
async function gone(stages: readonly string[]): Promise<void> {
  const giveUpAtMs = performance.now() + MAKE_LIMIT_MS;
  while (stages.some(isPipe)) {
    if (performance.now() > giveUpAtMs) throw new Error('stages of /bin/sh do not end');
    await sleep(LOOK_MS);
  }
}

function openBoth(path: string): Pipe {
  const reading = openSync(path, constants.O_RDONLY);
  const writing = openSync(path, constants.O_WRONLY);
  // Whoever opens `/dev/stdout` needs the right to, and runs as another user.
  fchmodSync(reading, 0o666);
  return { reading, writing };
}

function isPipe(path: string): boolean {
  try {
    return readlinkSync(path).startsWith('pipe:');
  } catch {
    return false; // it has ended, or has no such descriptor yet
  }
}
