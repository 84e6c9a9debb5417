import { dirname } from 'node:path';
import { ARCHIVE_LIMITS } from '@pilum/core/archives/archive-limits.ts';
import type { ArchiveFormat } from '@pilum/core/archives/archive-order.ts';
import {
  ARCHIVE_DIRECTORIES,
  ArchiveProcessFailed,
  type ArchiveRun,
  unpackArchive,
} from '@pilum/core/archives/archive-process.ts';
import { BadArchive, sentenceOf } from '@pilum/core/archives/bad-archive.ts';
import { Turns } from '@pilum/core/archives/turns.ts';
import type { UnpackedFile } from '@pilum/core/archives/unpack.ts';
import { InstanceError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import { readHostLayout } from '../runtimes/sandbox/host-layout.ts';
import { findBubblewrap } from '../runtimes/sandbox/probe.ts';

/** Archives of one kind that a worker unpacks at once. */
const MOST_AT_ONCE = 2;

export interface UnpackJob {
  readonly format: ArchiveFormat;
  /** The archive, as a file that is open at its beginning. */
  readonly archive: number;
  /** Directory to unpack into, which is empty. */
  readonly directory: string;
  readonly limitBytes: number;
}

/**
 * Unpacks archives, each in a process that can be killed and that, in a sandbox, sees the machine's programs, its own
 * and the one directory that it may write to; without network.
 */
export class Unpacker {
  readonly #isolation: 'sandbox' | 'none';
  readonly #logger: Logger;
  readonly #turns = new Turns(MOST_AT_ONCE);
  readonly #closing = new AbortController();
  /** Ways to make a sandbox that may work here, the closest one first. */
  #ways: Promise<(readonly string[])[]> | null = null;

  constructor(isolation: 'sandbox' | 'none', logger: Logger) {
    this.#isolation = isolation;
    this.#logger = logger;
  }

  /**
   * Unpacks an archive.
   * @returns its files and links
   * @throws InstanceError `INSTANCE_START_FAILED` that says what is wrong with the archive; RuntimeError
   *   `RUNTIME_UNAVAILABLE` where it is the machine that cannot
   */
  async unpack(job: UnpackJob): Promise<readonly UnpackedFile[]> {
    const { signal } = this.#closing;
    try {
      return await this.#turns.take(() => this.#unpack(job, signal), signal);
    } catch (error) {
      if (error instanceof BadArchive) {
        const { problem } = error;
        throw new InstanceError('INSTANCE_START_FAILED', {
          message: `The code's archive cannot be unpacked: ${sentenceOf(problem)}.`,
          ...(problem.hint === undefined ? {} : { hint: problem.hint }),
        });
      }
      if (error instanceof ArchiveProcessFailed || signal.aborted) {
        if (!signal.aborted) logEvent(this.#logger, 'archive-not-unpacked', { err: error });
        throw new RuntimeError('RUNTIME_UNAVAILABLE', {
          message: 'This worker cannot unpack an archive at the moment.',
          cause: error,
        });
      }
      throw error;
    }
  }

  /** Ends what is being unpacked. May be called twice. */
  close(): void {
    this.#closing.abort(new Error('the worker is stopping'));
  }

  async #unpack({ format, archive, directory, limitBytes }: UnpackJob, signal: AbortSignal) {
    const unpackedBytes = Math.min(limitBytes, ARCHIVE_LIMITS.unpackedBytes);
    const run: ArchiveRun = {
      order: { format, limits: { ...ARCHIVE_LIMITS, unpackedBytes }, directory },
      archive,
      signal,
    };
    this.#ways ??= this.#isolation === 'none' ? Promise.resolve([]) : waysHere();
    const ways = await this.#ways;
    for (let way = ways[0]; way !== undefined; way = ways[0]) {
      try {
        return await unpackArchive({ ...run, sandbox: [...way, '--bind', directory, directory, '--'] });
      } catch (error) {
        if (!(error instanceof ArchiveProcessFailed && error.message.includes('bwrap:'))) throw error;
        // Another job may have found out before.
        if (ways[0] === way) ways.shift();
        const message = ways.length > 0 ? 'trying another sandbox' : 'archives are unpacked without a sandbox';
        logEvent(
          this.#logger,
          'unpack-sandbox-refused',
          { err: error },
          `bubblewrap does not work here for archives; ${message}`,
        );
      }
    }
    return await unpackArchive(run);
  }
}

/**
 * Bubblewrap with what it takes to run our program; nothing where there is none. The user stays the worker's, who then owns
 * what is made: root is root in name only. In a container root may have no right to make a namespace of users, or to
 * set up one of networks; the process itself has no network in any case.
 */
async function waysHere(): Promise<(readonly string[])[]> {
  const path = await findBubblewrap();
  if (path === null) return [];
  const { visible, symlinks } = await readHostLayout();
  const shown = [...visible, dirname(process.execPath), ...ARCHIVE_DIRECTORIES];
  const common = [
    ...['--cap-drop', 'ALL', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--die-with-parent', '--new-session'],
    ...shown.flatMap((directory) => ['--ro-bind', directory, directory]),
    ...symlinks.flatMap((link) => ['--symlink', link.target, link.path]),
    ...['--dev-bind', '/dev/null', '/dev/null', '--dev-bind', '/dev/urandom', '/dev/urandom'],
  ];
  const closest = [path, '--unshare-user', '--unshare-net', ...common];
  if (process.getuid?.() !== 0) return [closest];
  return [closest, [path, '--unshare-net', ...common], [path, ...common]];
}
