import { createHash, randomUUID } from 'node:crypto';
import { copyFileSync, linkSync } from 'node:fs';
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { labelOf, namesOfTheDead, readOwner } from '../../ownership/owner.ts';
import type { Presence } from '../../ownership/presence.ts';
import { layersIn } from '../contract/layers.ts';

const CORE = join(import.meta.dirname, '../../../../../packages/core/src/wasm');
const ENGINE = join(import.meta.dirname, 'engine');
/** The programs of an engine's processes, and all that they import. */
const SOURCES: readonly string[] = [
  ...[
    'main',
    'compile-main',
    'engine',
    'wire',
    'wasmtime-engine',
    'v8-engine',
    'v8-thread',
    'v8-wasi',
    'v8-files',
    'v8-directory',
    'v8-errno',
    'capped-module',
  ].map((name) => join(ENGINE, `${name}.ts`)),
  ...['bytes-reader', 'module-sections', 'module-head', 'module-problems', 'export-call', 'wasi-functions'].map(
    (name) => join(CORE, `${name}.ts`),
  ),
  join(import.meta.dirname, '../protocols/handler/frames.ts'),
  join(import.meta.dirname, '../contract/held-bytes.ts'),
];
const STRIP = join(import.meta.dirname, 'strip-types.mjs');
const ADDON = 'wasmtime.node';
const MODULES = 'modules';
const UNFINISHED = 'unfinished-';

/** The paths at which an engine's processes find things, from {@link EngineFiles.directory}. */
export interface EngineProgram {
  readonly main: string;
  readonly compiler: string;
  /** The path of the addon; null where wasmtime was not built. */
  readonly addon: string | null;
}

/**
 * Everything that an engine's processes read, in one directory below the staging directory, which is mounted in their
 * sandbox read-only: their programs, without types, which Node would otherwise take off in every thread again; the modules
 * that are being prepared; and what was compiled. Only workers write there.
 */
export class EngineFiles {
  readonly directory: string;
  readonly compiled: string;
  /** The directory with the files of layers, which engines see as well. */
  readonly layers: string;
  readonly #addonPath: string;
  #placed: Promise<EngineProgram> | null = null;

  constructor(stagingDirectory: string, addonPath: string) {
    this.directory = join(stagingDirectory, 'wasm');
    this.compiled = join(this.directory, 'compiled');
    this.layers = layersIn(stagingDirectory);
    this.#addonPath = addonPath;
  }

  /** Makes what is missing, once; what is there already and right stays. */
  async place(): Promise<EngineProgram> {
    this.#placed ??= this.#place();
    try {
      return await this.#placed;
    } catch (error) {
      // The fault may be gone at the next try.
      this.#placed = null;
      throw error;
    }
  }

  async #place(): Promise<EngineProgram> {
    for (const path of [this.directory, join(this.directory, MODULES), this.compiled, this.layers]) {
      await mkdir(path, { recursive: true });
      // Sandboxes are another user: they may go through it, and not look around.
      await chmod(path, 0o711);
    }
    const name = await this.#placeProgram();
    const addon = await stat(join(this.directory, name, ADDON)).catch(() => null);
    return {
      main: join(name, 'main.mjs'),
      compiler: join(name, 'compile-main.mjs'),
      addon: addon === null ? null : join(name, ADDON),
    };
  }

  /**
   * Puts a module where engines can read it, until it is removed again.
   * @returns its path from the directory
   */
  async placeModule(path: string): Promise<string> {
    const name = join(MODULES, `${labelOf(await readOwner())}-${randomUUID()}.wasm`);
    const to = join(this.directory, name);
    // At once: a cold start waits for it, and the way through the thread pool costs ten times as much as the call.
    try {
      linkSync(path, to);
    } catch {
      copyFileSync(path, to); // from another file system
    }
    return name;
  }

  async removeModule(name: string): Promise<void> {
    await rm(join(this.directory, name), { force: true });
  }

  /**
   * Removes what dead workers have left.
   * @param presence of the workers that share the directory
   */
  async removeOrphans(presence?: Presence): Promise<void> {
    const modules = join(this.directory, MODULES);
    const left = await namesOfTheDead(await readdir(modules).catch(() => []), presence);
    for (const name of left) await rm(join(modules, name), { force: true });
    for (const directory of [this.directory, this.compiled]) {
      const unfinished = (await readdir(directory).catch(() => []))
        .filter((name) => name.startsWith(UNFINISHED))
        .map((name) => name.slice(UNFINISHED.length));
      for (const name of await namesOfTheDead(unfinished, presence)) {
        await rm(join(directory, UNFINISHED + name), { recursive: true, force: true });
      }
    }
  }

  /** A path for what is half-made; it says whose it is. */
  async unfinished(directory: string): Promise<string> {
    return join(directory, `${UNFINISHED}${labelOf(await readOwner())}-${randomUUID()}`);
  }

  /** Named by its content: an older and a newer worker may share the directory. */
  async #placeProgram(): Promise<string> {
    const hash = createHash('sha256');
    for (const path of [STRIP, ...SOURCES]) hash.update(await readFile(path)).update('\0');
    const addon = await readFile(this.#addonPath).catch(() => null);
    if (addon !== null) hash.update(addon);
    const name = `program-${hash.digest('hex').slice(0, 16)}`;
    const directory = join(this.directory, name);
    if ((await stat(directory).catch(() => null)) !== null) return name;
    const made = await this.unfinished(this.directory);
    try {
      await mkdir(made);
      await execa(process.execPath, [STRIP, made, ...SOURCES], { extendEnv: false, env: {} });
      if (addon !== null) await copyFile(this.#addonPath, join(made, ADDON));
      for (const file of await readdir(made)) await chmod(join(made, file), 0o644);
      await chmod(made, 0o755);
      await rename(made, directory);
    } catch (error) {
      // Another worker may have been faster.
      if ((await stat(directory).catch(() => null)) === null) throw error;
    } finally {
      await rm(made, { recursive: true, force: true });
    }
    return name;
  }
}

/** Names of what is half-made in a directory of compiled modules. */
export const isUnfinished = (name: string) => basename(name).startsWith(UNFINISHED);
