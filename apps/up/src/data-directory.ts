import { createHash, randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Refusal } from '../setup/refusal.mjs';
import { ProcessRecord } from './process-record.ts';

/** Longest path that a Unix socket may have on Linux, bytes (macOS: 103). */
const MAX_SOCKET_PATH = process.platform === 'darwin' ? 103 : 107;
/** Time for a part of a killed `up` to end by itself, ms; it has noticed already that we are gone. */
const LEFTOVER_GRACE_MS = 5000;
/** SQLite's code for a lock that somebody else holds. */
const SQLITE_BUSY = 5;

/**
 * The directory of `--data`:
 *
 *     redis/         the append-only file, and the socket
 *     run/           a record of each process that runs
 *     secrets.key    the keys that secrets are encrypted with, where the operator has named no others
 *     up.lock        held by the one `up` that uses the directory; up.pid says which
 *
 * Workers and the API keep theirs beside these.
 */
export class DataDirectory {
  readonly path: string;
  readonly redis: string;
  readonly redisSocket: string;
  #lock: DatabaseSync | undefined;

  private constructor(path: string) {
    this.path = path;
    this.redis = join(path, 'redis');
    this.redisSocket = socketPath(join(this.redis, 'redis.sock'), path);
  }

  /**
   * Makes the directory where there is none, and takes it for this process alone.
   * @throws Refusal when we may not write there, or another `up` uses it.
   */
  static open(path: string): DataDirectory {
    const directory = new DataDirectory(path);
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      for (const inside of [directory.redis, join(path, 'run')]) {
        mkdirSync(inside, { recursive: true, mode: 0o700 });
        chmodSync(inside, 0o700);
        accessSync(inside, constants.R_OK | constants.W_OK | constants.X_OK);
      }
      directory.#takeLock();
      return directory;
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw new Refusal(
        `The data directory ${path} cannot be used (${(error as NodeJS.ErrnoException).code ?? (error as Error).message}): make it writable for this user, or choose another with --data.`,
      );
    }
  }

  /**
   * The file of keys for secrets. It is made where there is none, for this user alone.
   * @throws Refusal where it can be neither read nor made
   */
  secretsKeyFile(): string {
    const path = join(this.path, 'secrets.key');
    try {
      // Two at once cannot be: the lock is held.
      if (!existsSync(path)) {
        const made = `${path}.new`;
        rmSync(made, { force: true });
        writeFileSync(
          made,
          `# Secrets are encrypted with this key, and lost without it.\n${randomBytes(32).toString('base64')}\n`,
          {
            mode: 0o600,
            flag: 'wx',
            flush: true,
          },
        );
        renameSync(made, path);
      }
      accessSync(path, constants.R_OK);
      return path;
    } catch (error) {
      throw new Refusal(
        `The file of keys for secrets ${path} cannot be used (${(error as NodeJS.ErrnoException).code ?? (error as Error).message}): make it readable for this user, or name another with PILUM_SECRETS_KEY_FILE.`,
      );
    }
  }

  /** Returns the record of the process of a part. */
  recordOf(part: string): ProcessRecord {
    return new ProcessRecord(join(this.path, 'run', part));
  }

  /** Stops the parts that an `up` which was killed has left behind, and waits until they are gone. */
  async stopLeftovers(signal: AbortSignal): Promise<string[]> {
    const names = readdirSync(join(this.path, 'run'));
    const found = await Promise.all(
      names.map(async (name) => ((await this.recordOf(name).stopLeftover(LEFTOVER_GRACE_MS, signal)) ? name : [])),
    );
    return found.flat();
  }

  close(): void {
    if (this.#lock !== undefined) {
      rmSync(this.#pidFile, { force: true });
      const sockets = dirname(this.redisSocket);
      if (sockets !== this.redis) rmSync(sockets, { recursive: true, force: true });
    }
    this.#lock?.close();
    this.#lock = undefined;
  }

  get #pidFile(): string {
    return join(this.path, 'up.pid');
  }

  #holder(): string {
    try {
      return readFileSync(this.#pidFile, 'utf8').trim();
    } catch {
      return 'not known yet';
    }
  }

  /**
   * The lock is one of the kernel's, by way of SQLite: it goes with the process that holds it, however that ends, so
   * there is no such thing as a lock left behind. The pid is only for the sentence.
   */
  #takeLock(): void {
    const lock = new DatabaseSync(join(this.path, 'up.lock'));
    try {
      lock.exec('PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE');
    } catch (error) {
      lock.close();
      if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
      throw new Refusal(
        `Pilum is already running on ${this.path} (pid ${this.#holder()}): stop that one first, or choose another directory with --data.`,
      );
    }
    this.#lock = lock;
    writeFileSync(this.#pidFile, `${process.pid}\n`);
  }
}

/** A socket's path has little room: a long one moves to the directory for temporary files, under a short name. */
function socketPath(path: string, data: string): string {
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return path;
  const digest = createHash('sha256').update(data).digest('hex').slice(0, 16);
  const [first = path, ...others] = [tmpdir(), '/tmp'].map((place) => join(place, `pilum-${digest}`, 'redis.sock'));
  return [first, ...others].find((candidate) => Buffer.byteLength(candidate) <= MAX_SOCKET_PATH) ?? first;
}

/**
 * Makes a directory that only we may enter, or checks that an existing one is that: anybody may have made one of this
 * name where everybody may write.
 */
export function makePrivate(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const stat = lstatSync(directory);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.()) {
    throw new Refusal(
      `${directory} belongs to somebody else, and the socket of Redis has to be there: remove it, or choose a --data with a shorter path.`,
    );
  }
  chmodSync(directory, 0o700);
}
