import { createHash, randomUUID } from 'node:crypto';
import { chmodSync, closeSync, mkdirSync, openSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArchiveFormat } from '@pilum/core/archives/archive-order.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { CodeLocation } from '@pilum/core/schemas/artifact.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import type { Logger } from 'pino';
import { labelOf, namesOfTheDead, ownerIn, readOwner } from '../ownership/owner.ts';
import type { Presence } from '../ownership/presence.ts';
import { requireUsableFileName } from '../runtimes/contract/checked-texts.ts';
import { type CodeSource, download } from './download.ts';
import { holds, Manifest, manifestOfFile } from './manifest.ts';
import { Remover } from './remover.ts';
import { Unpacker } from './unpacker.ts';

export type { CodeSource } from './download.ts';

/** Code that stays on disk until it is released. */
export interface HeldCode {
  readonly directory: string;
  /** Time that it took to unpack it, ms; 0 where it was there, or is one file. */
  readonly unpackMs: number;
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

/** Beginning of the names of directories that are no code yet, or no longer. */
const WORK = 'tmp-';

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
  readonly #unpacker: Unpacker;
  readonly #remover: Remover;
  readonly #entries = new Map<string, Entry>();
  readonly #pending = new Map<string, Promise<Entry>>();
  /** Time at which each was unpacked, on the clock of `performance.now()`, and the time that it took, ms. */
  readonly #unpacked = new WeakMap<Manifest, { readonly endedAt: number; readonly tookMs: number }>();

  /**
   * @param options `presence` is of the workers that share the directory; left out where there is no other. `isolation`
   *   says whether archives are unpacked in a sandbox
   */
  constructor(options: {
    directory: string;
    limitBytes: number;
    source: CodeSource;
    presence?: Presence;
    isolation?: 'sandbox' | 'none';
    logger: Logger;
  }) {
    this.#directory = options.directory;
    this.#limitBytes = options.limitBytes;
    this.#source = options.source;
    this.#presence = options.presence ?? null;
    this.#logger = options.logger;
    this.#unpacker = new Unpacker(options.isolation ?? 'none', options.logger);
    this.#remover = new Remover(options.logger);
  }

  /** Takes over what an earlier process left; what is half-made is removed, and nobody waits for that. */
  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    // Instances may go through it, and not look around.
    await chmod(this.#directory, 0o711);
    const names = await readdir(this.#directory);
    for (const name of names) {
      // Of no known owner: nobody's. The others may be in the hands of another worker.
      if (name.startsWith(WORK) && ownerIn(name.slice(WORK.length)) === null) this.#removeWork(name);
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
    for (const name of left) this.#removeWork(WORK + name);
  }

  /**
   * Makes sure that code is on disk and right, and keeps it there.
   * @throws ArtifactError `BLOB_NOT_FOUND`, `CHECKSUM_MISMATCH`; InstanceError `INSTANCE_START_FAILED` for an archive
   *   that cannot be unpacked, and for the name of a file that would lie elsewhere
   */
  async hold(namespace: string, code: CodeLocation): Promise<HeldCode> {
    requireUsableFileName(code);
    const key = keyOf(code);
    const since = performance.now();
    const entry = await this.#obtain(key, namespace, code);
    const unpacked = this.#unpacked.get(entry.manifest);
    entry.users++;
    entry.lastUsedAtMs = Date.now();
    let released = false;
    return {
      directory: join(this.#directory, key),
      unpackMs: unpacked !== undefined && unpacked.endedAt >= since ? unpacked.tookMs : 0,
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

  /** Ends what is being unpacked or removed. May be awaited twice. */
  async close(): Promise<void> {
    this.#unpacker.close();
    await this.#remover.close();
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
   * Returns the code that stands on disk and is right, whoever put it there; null where there is none. Another worker may share the
   * directory, and its instances read what lies there: it is not to be moved from under them.
   */
  async #standing(key: string, code: CodeLocation): Promise<Manifest | null> {
    const manifest = await this.#readManifest(key);
    if (manifest?.digest !== code.digest) return null;
    return (await holds(join(this.#directory, key), manifest, 'content')) ? manifest : null;
  }

  async #fetch(key: string, namespace: string, code: CodeLocation, isAgain: boolean): Promise<Manifest> {
    if (isAgain) {
      logEvent(this.#logger, 'code-changed', { digest: code.digest });
    }
    const work = await this.#newWork();
    const made = join(work, 'code');
    mkdirSync(work, { mode: 0o700 });
    try {
      const manifest = await (code.format === 'file'
        ? this.#makeFile(namespace, code, made)
        : this.#makeUnpacked(namespace, { ...code, format: code.format }, work, made));
      const meanwhile = await this.#standing(key, code);
      if (meanwhile !== null) return meanwhile;
      await this.#place(key, made);
      // The manifest goes last and is removed first: code without one is not there.
      writeFileSync(join(work, 'manifest'), JSON.stringify(manifest));
      renameSync(join(work, 'manifest'), this.#manifestPath(key));
      return manifest;
    } finally {
      this.#remover.remove(work);
    }
  }

  async #makeFile(namespace: string, code: CodeLocation, made: string): Promise<Manifest> {
    const name = code.fileName ?? 'main';
    const file = join(made, name);
    makeOpen(made);
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) makeOpen(join(made, name.slice(0, at)));
    // A single file may be a program; that it is one does no harm to a script.
    const { size, mtimeMs } = await download(this.#source, { namespace, digest: code.digest }, file, 0o755);
    return manifestOfFile(name, { digest: code.digest, sizeBytes: size, mtimeMs });
  }

  async #makeUnpacked(
    namespace: string,
    { digest, format }: { digest: string; format: ArchiveFormat },
    work: string,
    made: string,
  ): Promise<Manifest> {
    const blob = join(work, 'blob');
    makeOpen(made);
    await download(this.#source, { namespace, digest }, blob, 0o600);
    const archive = openSync(blob, 'r');
    try {
      // It goes with its last descriptor.
      unlinkSync(blob);
      const since = performance.now();
      const files = await this.#unpacker.unpack({ format, archive, directory: made, limitBytes: this.#limitBytes });
      const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const manifest: Manifest = { digest, totalBytes, files: [...files] };
      this.#unpacked.set(manifest, { endedAt: performance.now(), tookMs: performance.now() - since });
      return manifest;
    } finally {
      closeSync(archive);
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

  async #shrink(): Promise<void> {
    const idle = [...this.#entries.values()]
      .filter((entry) => entry.users === 0 && !this.#pending.has(entry.key))
      .sort((a, b) => a.lastUsedAtMs - b.lastUsedAtMs);
    for (const entry of idle) {
      if (this.sizeBytes <= this.#limitBytes) return;
      this.#entries.delete(entry.key);
      await this.#remove(entry.key).catch((error: unknown) =>
        logEvent(this.#logger, 'code-not-removed', { err: error }),
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
    this.#remover.remove(trash);
  }

  /** A path for what is half-made, or half-removed; it says whose it is. */
  async #newWork(): Promise<string> {
    return join(this.#directory, `${WORK}${labelOf(await readOwner())}-${randomUUID()}`);
  }

  #removeWork(name: string): void {
    this.#remover.remove(join(this.#directory, name));
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

/** A directory that others may read, whatever the umask: sandboxes run as other users. */
function makeOpen(directory: string): void {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o755);
}

/** The same bytes may be laid out in two ways: a file under one name or another, or an archive. */
function keyOf(code: CodeLocation): string {
  const layout = code.format === 'file' ? `file:${code.fileName ?? 'main'}` : code.format;
  const suffix = createHash('sha256').update(layout).digest('hex').slice(0, 8);
  return `${code.digest.slice('sha256:'.length)}-${suffix}`;
}
