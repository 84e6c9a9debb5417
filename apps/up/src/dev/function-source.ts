import { execFile } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Largest archive that is made of a directory, bytes. */
const MAX_ARCHIVE = 256 * 1_048_576;
const MODULES = ['.mjs', '.js', '.cjs', '.ts', '.mts', '.cts', '.py', '.wasm'];
/** Names of the file that a directory is entered by; the first one that is there counts. */
const ENTRIES = ['index.mjs', 'index.js', 'index.ts', 'index.mts', 'index.cjs', 'main.py', 'main.wasm'];

/** A function on this machine's disk: one file, or a directory of them. */
export interface FunctionSource {
  readonly name: string;
  readonly path: string;
}

/** The code of a function as it is deployed. */
export interface FunctionCode {
  readonly bytes: Buffer;
  readonly format: 'file' | 'tar';
  /** The spec, but for its code. */
  readonly spec: Record<string, unknown>;
}

/** Every function of a directory: a file is one by its name, and so is a directory. */
export async function functionsIn(directory: string): Promise<FunctionSource[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  return entries
    .filter((entry) => !/^[._]/.test(entry.name) && entry.name !== 'node_modules')
    .filter((entry) => entry.isDirectory() || MODULES.includes(extname(entry.name)))
    .map(({ name }) => ({
      name: basename(
        name,
        MODULES.find((end) => name.endsWith(end)),
      ),
      path: join(directory, name),
    }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

/**
 * Reads a function from the disk. A file `NAME.json` beside its file, or `pilum.json` in its directory, has what its spec
 * says besides.
 * @throws Error that says what is missing
 */
export async function readFunction({ path }: FunctionSource): Promise<FunctionCode> {
  const isDirectory = (await stat(path)).isDirectory();
  if (!isDirectory) {
    const file = basename(path);
    const spec = await readSpec(join(dirname(path), `${basename(file, extname(file))}.json`));
    return { bytes: await readFile(path), format: 'file', spec: { ...defaultsOf(file), ...spec } };
  }
  const spec = await readSpec(join(path, 'pilum.json'));
  const files = await readdir(path);
  const entry = ENTRIES.find((name) => files.includes(name));
  if (entry === undefined && spec.entry === undefined && spec.command === undefined) {
    throw new Error(`none of ${ENTRIES.join(', ')} is in ${path}, and no pilum.json that names an entry or a command`);
  }
  if (entry === 'main.wasm') {
    return { bytes: await readFile(join(path, entry)), format: 'file', spec: { ...defaultsOf(entry), ...spec } };
  }
  // The same files give the same archive, so that what did not change is not another version.
  const stable = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner'];
  const unwanted = ['--exclude=./pilum.json', '--exclude=./.git', '--exclude=__pycache__'];
  const options = { encoding: 'buffer', maxBuffer: MAX_ARCHIVE } as const;
  const { stdout } = await run('tar', [...stable, ...unwanted, '-cf', '-', '-C', path, '.'], options);
  const entered = entry === undefined || spec.command !== undefined ? { runtime: 'process' } : defaultsOf(entry);
  return { bytes: stdout, format: 'tar', spec: { ...entered, ...spec } };
}

const defaultsOf = (entry: string) => ({ runtime: entry.endsWith('.wasm') ? 'wasm' : 'process', entry });

async function readSpec(path: string): Promise<Record<string, unknown>> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '{}';
    throw error;
  });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${path} is not JSON: ${(error as Error).message}`);
  }
}
