import { createHash } from 'node:crypto';
import { createReadStream, statSync, utimesSync } from 'node:fs';
import { chmod, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import { type EngineFiles, isUnfinished } from './engine-files.ts';

export interface CompiledModulesDeps {
  readonly files: EngineFiles;
  /** The size of all compiled modules on disk, bytes. */
  readonly limitBytes: number;
  /** Compiles a module that lies where engines find it. @throws Error where it cannot */
  readonly compile: (path: string) => Promise<Buffer>;
  readonly logger: Logger;
}

const SUFFIX = '.cwasm';

/**
 * Compiled modules on this machine's disk: `<key>.cwasm`, and beside it `<key>.sha256`. An engine runs what stands in
 * such a file as it is, so nothing is given to one whose digest is not what it was when it was written. Bounded in size;
 * what was used longest ago goes first.
 */
export class CompiledModules {
  readonly #deps: CompiledModulesDeps;
  readonly #making = new Map<string, Promise<string>>();
  /** Files whose every byte this process has hashed, as they were then. */
  readonly #checked = new Map<string, string>();

  constructor(deps: CompiledModulesDeps) {
    this.#deps = deps;
  }

  /**
   * The compiled module of a key, compiled now where it is not there, or not what it should be. Goes on where its caller
   * does not wait any more, and whoever comes meanwhile shares it.
   * @param key says what it is made of and for: module, engine, settings and processor
   * @param modulePath of the module itself
   * @returns its path from the files' directory
   */
  obtain(key: string, modulePath: string): Promise<string> {
    const making = this.#making.get(key);
    if (making !== undefined) return making;
    const obtaining = this.#obtain(key, modulePath).finally(() => this.#making.delete(key));
    this.#making.set(key, obtaining);
    return obtaining;
  }

  /** Removes one, so that the next call makes it again. */
  async discard(key: string): Promise<void> {
    this.#checked.delete(key);
    await rm(this.#path(key), { force: true });
    await rm(this.#digestPath(key), { force: true });
  }

  async #obtain(key: string, modulePath: string): Promise<string> {
    if (!(await this.#isRight(key))) await this.#make(key, modulePath);
    return join('compiled', key + SUFFIX);
  }

  async #isRight(key: string): Promise<boolean> {
    const path = this.#path(key);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return false;
    const seen = this.#checked.get(key);
    if (seen !== undefined && seen === identityOf(path)) return true;
    const wanted = await readFile(this.#digestPath(key), 'utf8').catch(() => null);
    if (wanted !== null && wanted === (await digestOf(path))) {
      const now = new Date();
      utimesSync(path, now, now); // it was used
      this.#checked.set(key, identityOf(path));
      return true;
    }
    logEvent(this.#deps.logger, 'module-changed', { key });
    await this.discard(key);
    return false;
  }

  async #make(key: string, modulePath: string): Promise<void> {
    const { files, compile } = this.#deps;
    const name = await files.placeModule(modulePath);
    try {
      const compiled = await compile(name);
      await this.#place(this.#path(key), compiled);
      await this.#place(this.#digestPath(key), createHash('sha256').update(compiled).digest('hex'));
      this.#checked.set(key, identityOf(this.#path(key)));
    } finally {
      await files.removeModule(name);
    }
    await this.#shrink();
  }

  async #place(path: string, content: Buffer | string): Promise<void> {
    const unfinished = await this.#deps.files.unfinished(this.#deps.files.compiled);
    try {
      await writeFile(unfinished, content);
      await chmod(unfinished, 0o444);
      await rename(unfinished, path);
    } finally {
      await rm(unfinished, { force: true });
    }
  }

  async #shrink(): Promise<void> {
    const { files, limitBytes, logger } = this.#deps;
    try {
      const names = (await readdir(files.compiled)).filter((name) => name.endsWith(SUFFIX) && !isUnfinished(name));
      const all = await Promise.all(
        names.map(async (name) => {
          const { size = 0, mtimeMs = 0 } = (await stat(join(files.compiled, name)).catch(() => null)) ?? {};
          return { key: name.slice(0, -SUFFIX.length), size, mtimeMs };
        }),
      );
      let total = all.reduce((sum, { size }) => sum + size, 0);
      // An engine that has one of them loaded keeps what it has.
      for (const { key, size } of all.sort((a, b) => a.mtimeMs - b.mtimeMs)) {
        if (total <= limitBytes) return;
        await this.discard(key);
        total -= size;
      }
    } catch (error) {
      logEvent(logger, 'modules-not-removed', { err: error });
    }
  }

  #path(key: string): string {
    return join(this.#deps.files.compiled, key + SUFFIX);
  }

  #digestPath(key: string): string {
    return join(this.#deps.files.compiled, `${key}.sha256`);
  }
}

function identityOf(path: string): string {
  const { ino, size, mtimeMs, ctimeMs } = statSync(path);
  return [ino, size, mtimeMs, ctimeMs].join();
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
