import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  type Stats,
  writeFile,
  writeFileSync,
} from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ArtifactError } from '@pilum/core/errors/pilum-error.ts';
import type { CodeLocation } from '@pilum/core/schemas/artifact.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import type { Logger } from 'pino';
import { labelOf, namesOfTheDead, ownerIn, readOwner } from '../ownership/owner.ts';
import type { Presence } from '../ownership/presence.ts';
import { requireUsableFileName } from '../runtimes/contract/checked-texts.ts';
import { holds, Manifest, manifestOf, manifestOfFile } from './manifest.ts';
import { unpackTar } from './unpack.ts';

/** Where code comes from when it is not on disk: the store in Redis. */
export interface CodeSource {
  read(namespace: string, digest: string): AsyncIterable<Buffer>;
}

/** Code that stays on disk until it is released. */
export interface HeldCode {
  readonly directory: string;
  /**
   * Checks it again, and fetches it again where it is not what it should be.
   * @throws ArtifactError `CHECKSUM_MISMATCH` where the store does not have it either
   */
  verify(): Promise<void>;
  release(): void;
}

interface Entry {
  readonly key: string;
  manifest: Manifest;
  users: number;
  lastUsedAtMs: number;
  /** Whether this process has hashed every byte of it. */
  contentChecked: boolean;
}

/** How the names of directories begin that are no code yet, or no longer. */
const WORK = 'tmp-';
const MAX_ENTRIES_IN_ARCHIVE = 100_000;

const writeMore = promisify(writeFile);

/**
 * Code on this machine's disk, by digest: `<directory>/<digest>-<layout>/`, with a manifest beside it. Bounded in size;
 * what nobody holds and was used longest ago goes first. Held code stays even where that is over the bound.
 *
 * A task waits while code is placed. Calls that take microseconds are made at once: through the thread pool each costs ten
 * times as much.
 */
export class CodeCache {
  readonly #directory: string;
  readonly #limitBytes: number;
  readonly #source: CodeSource;
  readonly #presence: Presence | null;
  readonly #logger: Logger;
  readonly #entries = new Map<string, Entry>();
  readonly #pending = new Map<string, Promise<Entry>>();

  /** @param options `presence` is of the workers that share the directory; left out where there is no other */
  constructor(options: {
    directory: string;
    limitBytes: number;
    source: CodeSource;
    presence?: Presence;
    logger: Logger;
  }) {
    this.#directory = options.directory;
    this.#limitBytes = options.limitBytes;
    this.#source = options.source;
    this.#presence = options.presence ?? null;
    this.#logger = options.logger;
  }

  /** Takes over what an earlier process left; what is half-made is removed. */
  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    // Instances may go through it, and not look around.
    await chmod(this.#directory, 0o711);
    const names = await readdir(this.#directory);
    for (const name of names) {
      // Of no known owner: nobody's. The others may be in the hands of another worker.
      if (name.startsWith(WORK) && ownerIn(name.slice(WORK.length)) === null) await this.#removeWork(name);
      if (!name.endsWith('.json')) continue;
      const key = name.slice(0, -'.json'.length);
      const manifest = await this.#readManifest(key);
      if (manifest === null) await this.#remove(key);
      else this.#entries.set(key, { key, manifest, users: 0, lastUsedAtMs: 0, contentChecked: false });
    }
    await this.removeOrphans();
  }

  /** Removes what dead workers were about to unpack or to remove. */
  async removeOrphans(): Promise<void> {
    const work = (await readdir(this.#directory)).filter((name) => name.startsWith(WORK));
    const left = await namesOfTheDead(
      work.map((name) => name.slice(WORK.length)),
      this.#presence,
    );
    for (const name of left) await this.#removeWork(WORK + name);
  }

  /**
   * Makes sure that code is on disk and right, and keeps it there.
   * @throws ArtifactError `BLOB_NOT_FOUND`, `CHECKSUM_MISMATCH`; InstanceError `INSTANCE_START_FAILED` for an archive
   *   that cannot be unpacked, and for the name of a file that would lie elsewhere
   */
  async hold(namespace: string, code: CodeLocation): Promise<HeldCode> {
    requireUsableFileName(code);
    const key = keyOf(code);
    const entry = await this.#obtain(key, namespace, code);
    entry.users++;
    entry.lastUsedAtMs = Date.now();
    let released = false;
    return {
      directory: join(this.#directory, key),
      verify: async () => {
        await this.#obtain(key, namespace, code);
      },
      release: () => {
        if (released) return;
        released = true;
        entry.users--;
        void this.#shrink();
      },
    };
  }

  /** Bytes on disk. */
  get sizeBytes(): number {
    let sum = 0;
    for (const entry of this.#entries.values()) sum += entry.manifest.totalBytes;
    return sum;
  }

  /** One check or fetch at a time for each entry; who comes in between shares it. */
  #obtain(key: string, namespace: string, code: CodeLocation): Promise<Entry> {
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    const obtaining = this.#checkOrFetch(key, namespace, code).finally(() => this.#pending.delete(key));
    this.#pending.set(key, obtaining);
    return obtaining;
  }

  async #checkOrFetch(key: string, namespace: string, code: CodeLocation): Promise<Entry> {
    const known = this.#entries.get(key);
    if (known !== undefined) {
      const depth = known.contentChecked ? 'stat' : 'content';
      if (await holds(join(this.#directory, key), known.manifest, depth)) {
        known.contentChecked = true;
        return known;
      }
    }
    const manifest =
      (await this.#standing(key, code)) ?? (await this.#fetch(key, namespace, code, known !== undefined));
    if (known !== undefined) {
      known.manifest = manifest;
      known.contentChecked = true;
      return known;
    }
    const entry: Entry = { key, manifest, users: 0, lastUsedAtMs: Date.now(), contentChecked: true };
    this.#entries.set(key, entry);
    void this.#shrink();
    return entry;
  }

  /**
   * What stands on disk and is right, whoever put it there; null where there is none. Another worker may share the
   * directory, and its instances read what lies there: it is not to be moved from under them.
   */
  async #standing(key: string, code: CodeLocation): Promise<Manifest | null> {
    const manifest = await this.#readManifest(key);
    if (manifest?.digest !== code.digest) return null;
    return (await holds(join(this.#directory, key), manifest, 'content')) ? manifest : null;
  }

  async #fetch(key: string, namespace: string, code: CodeLocation, isAgain: boolean): Promise<Manifest> {
    if (isAgain) {
      this.#logger.warn({ digest: code.digest }, 'code on disk is not what it should be; it is fetched again');
    }
    const work = await this.#newWork();
    const made = join(work, 'code');
    const file = join(made, code.fileName ?? 'main');
    mkdirSync(code.format === 'tar' ? made : dirname(file), { recursive: true, mode: 0o755 });
    try {
      let manifest: Manifest;
      if (code.format === 'tar') {
        const blob = join(work, 'blob');
        await this.#download(namespace, code.digest, blob, 0o600);
        await unpackTar(createReadStream(blob), made, { bytes: this.#limitBytes, entries: MAX_ENTRIES_IN_ARCHIVE });
        manifest = await manifestOf(made, code.digest);
      } else {
        // A single file may be a program; that it is one does no harm to a script.
        const { size, mtimeMs } = await this.#download(namespace, code.digest, file, 0o755);
        manifest = manifestOfFile(code.fileName ?? 'main', { digest: code.digest, sizeBytes: size, mtimeMs });
      }
      const meanwhile = await this.#standing(key, code);
      if (meanwhile !== null) return meanwhile;
      await this.#place(key, made);
      // The manifest goes last and is removed first: code without one is not there.
      writeFileSync(join(work, 'manifest'), JSON.stringify(manifest));
      renameSync(join(work, 'manifest'), this.#manifestPath(key));
      return manifest;
    } finally {
      await this.#discard(work);
    }
  }

  async #discard(work: string): Promise<void> {
    try {
      rmdirSync(work);
    } catch {
      await rm(work, { recursive: true, force: true });
    }
  }

  async #place(key: string, made: string): Promise<void> {
    const directory = join(this.#directory, key);
    try {
      renameSync(made, directory);
    } catch (error) {
      // Something else stands there; mostly nothing does.
      if (!['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      await this.#remove(key);
      await rename(made, directory);
    }
  }

  /** Writes a blob to a new file, and says what that is then. */
  async #download(namespace: string, digest: string, path: string, mode: number): Promise<Stats> {
    const hash = createHash('sha256');
    const file = openSync(path, 'wx');
    let size = 0;
    let stats: Stats;
    try {
      for await (const chunk of this.#source.read(namespace, digest)) {
        hash.update(chunk);
        // A disk may be slow to take much.
        if (size === 0) writeFileSync(file, chunk);
        else await writeMore(file, chunk);
        size += chunk.length;
      }
      fchmodSync(file, mode);
      stats = fstatSync(file);
    } finally {
      closeSync(file);
    }
    const actual = `sha256:${hash.digest('hex')}`;
    if (actual !== digest) {
      throw new ArtifactError('CHECKSUM_MISMATCH', {
        message: `The store holds other bytes under ${digest}: they have the digest ${actual}.`,
        hint: 'Delete the artifacts that use this code, then upload and deploy it again.',
        details: { expected: digest, actual },
      });
    }
    return stats;
  }

  async #shrink(): Promise<void> {
    const idle = [...this.#entries.values()]
      .filter((entry) => entry.users === 0 && !this.#pending.has(entry.key))
      .sort((a, b) => a.lastUsedAtMs - b.lastUsedAtMs);
    for (const entry of idle) {
      if (this.sizeBytes <= this.#limitBytes) return;
      this.#entries.delete(entry.key);
      await this.#remove(entry.key).catch((error: unknown) =>
        this.#logger.warn({ error }, 'code could not be removed'),
      );
    }
  }

  /** Removes code by moving it out of the way first: an instance that still has it mounted keeps what it has. */
  async #remove(key: string): Promise<void> {
    await rm(this.#manifestPath(key), { force: true });
    const trash = await this.#newWork();
    try {
      await rename(join(this.#directory, key), trash);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(trash, { recursive: true, force: true });
  }

  /** A path for what is half-made, or half-removed; it says whose it is. */
  async #newWork(): Promise<string> {
    return join(this.#directory, `${WORK}${labelOf(await readOwner())}-${randomUUID()}`);
  }

  async #removeWork(name: string): Promise<void> {
    await rm(join(this.#directory, name), { recursive: true, force: true });
  }

  async #readManifest(key: string): Promise<Manifest | null> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#manifestPath(key), 'utf8'));
      return matches(Manifest, value) ? value : null;
    } catch {
      return null;
    }
  }

  #manifestPath(key: string): string {
    return join(this.#directory, `${key}.json`);
  }
}

/** The same bytes may be laid out in two ways: a file under one name or another, or an archive. */
function keyOf(code: CodeLocation): string {
  const layout = code.format === 'tar' ? 'tar' : `file:${code.fileName ?? 'main'}`;
  const suffix = createHash('sha256').update(layout).digest('hex').slice(0, 8);
  return `${code.digest.slice('sha256:'.length)}-${suffix}`;
}
