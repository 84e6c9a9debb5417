import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { BadModule } from '@pilum/core/wasm/bytes-reader.ts';
import { ALLOCATOR, isBytesCall } from '@pilum/core/wasm/export-call.ts';
import { type ModuleHead, readModuleHead } from '@pilum/core/wasm/module-head.ts';
import { moduleProblems } from '@pilum/core/wasm/module-problems.ts';
import { LRUCache } from 'lru-cache';
import type { RunnableVersion } from '../contract/runtime.ts';
import type { Entry } from './engine/engine.ts';

/** The facts of a version that an engine has to know. */
export interface ModulePlan {
  /** The path of the module on this machine's disk. */
  readonly path: string;
  /** sha256 of the module, hexadecimal. */
  readonly digest: string;
  readonly entry: Entry;
  readonly memoryBytes: number;
  /** `argv[0]` where no command says another. */
  readonly fileName: string;
}

const DEFAULT_FILE = 'main.wasm';
const MEBIBYTE = 1_048_576;
const MAX_KNOWN = 2000;

/** Reads modules on disk for what has to be known of them, once each. */
export class ModulePlans {
  /** The plans by path, with what the file was then. */
  readonly #known = new LRUCache<string, ModulePlan>({ max: MAX_KNOWN });

  /**
   * Returns the facts of a version that an engine has to know.
   * @throws InstanceError `INSTANCE_START_FAILED` for what is no module, or one that cannot be run
   */
  async of({ version, codeDirectory }: RunnableVersion): Promise<ModulePlan> {
    if (codeDirectory === null) throw failed('A module needs code, and this version has none.');
    const { entry = DEFAULT_FILE, limits } = version.spec;
    const [fileName = '', exportName = null] = entry.split('#');
    const path = join(codeDirectory, fileName);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) throw failed(`The code has no file ${fileName}.`);
    const key = [path, entry, limits.memoryMiB, stats.ino, stats.size, stats.mtimeMs].join('\0');
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const isTheFile = version.code?.format === 'file';
    const digest = isTheFile ? version.code?.digest.slice('sha256:'.length) : undefined;
    const plan = {
      path,
      digest: digest ?? (await digestOf(path)),
      entry: entryOf(await headOf(path, exportName, limits.memoryMiB), exportName),
      memoryBytes: limits.memoryMiB * MEBIBYTE,
      fileName,
    };
    this.#known.set(key, plan);
    return plan;
  }
}

async function headOf(path: string, exportName: string | null, memoryMiB: number): Promise<ModuleHead> {
  try {
    const head = await readModuleHead(createReadStream(path));
    const problems = moduleProblems(head, exportName, memoryMiB);
    if (problems.length > 0) throw failed(`The module ${problems.join('; it ')}.`);
    return head;
  } catch (error) {
    if (error instanceof BadModule) throw failed(`The module ${error.message}.`);
    throw error;
  }
}

function entryOf({ exports }: ModuleHead, name: string | null): Entry {
  const type = name === null ? null : exports.get(name)?.type;
  if (name === null || type === null || type === undefined) return { kind: 'command' };
  return isBytesCall(exports, name) ? { kind: 'bytes', name, allocator: ALLOCATOR } : { kind: 'numbers', name, type };
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

const failed = (message: string) => new InstanceError('INSTANCE_START_FAILED', { message });
