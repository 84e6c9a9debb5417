import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Language } from '@pilum/core/spec/languages.ts';

/** An executable whose name is that of an interpreter. */
export interface Candidate {
  readonly language: Language;
  readonly path: string;
}

/** The most executables that are looked at, however many a directory has. */
const MOST_CANDIDATES = 64;

const NODE = /^node(?:js)?(?:-?[0-9]+)?$/;
const PYTHON = /^python3(?:\.[0-9]+)?$/;

/**
 * Lists the interpreters of this machine: those on PATH, in /usr and /opt, and those that version managers keep, for whoever runs the
 * worker.
 */
export async function findCandidates(env: Readonly<Record<string, string | undefined>>): Promise<Candidate[]> {
  const home = env.HOME ?? '/nonexistent';
  // What a manager puts on PATH in the place of an interpreter says which one it is only when it is run.
  const onPath = (env.PATH ?? '').split(':').filter((path) => path.startsWith('/') && basename(path) !== 'shims');
  const versions = [
    '/opt',
    '/usr/local/nvm/versions/node',
    '/usr/local/n/versions/node',
    join(env.PYENV_ROOT ?? join(home, '.pyenv'), 'versions'),
    join(env.NVM_DIR ?? join(home, '.nvm'), 'versions/node'),
    env.UV_PYTHON_INSTALL_DIR ?? join(home, '.local/share/uv/python'),
    join(home, '.asdf/installs/nodejs'),
    join(home, '.asdf/installs/python'),
    join(home, '.local/share/mise/installs/node'),
    join(home, '.local/share/mise/installs/python'),
    join(home, '.local/share/fnm/node-versions'),
    join(home, '.volta/tools/image/node'),
  ];
  const inDirectories = [...onPath, '/usr/local/bin', '/usr/bin'].map((path) => inBin(path));
  const found = await Promise.all([...inDirectories, ...versions.map((path) => inVersions(path))]);
  return await distinct(found.flat());
}

/**
 * Lists the interpreters that an operator has named.
 * @param paths each an executable, the `bin` of one, the place where one is installed, or a directory of such places
 */
export async function namedCandidates(paths: readonly string[]): Promise<Candidate[]> {
  const found = await Promise.all(
    paths.map(async (path) => {
      const isDirectory = (await stat(path).catch(() => null))?.isDirectory() ?? false;
      if (!isDirectory) return candidatesNamed(dirname(path), [basename(path)], true);
      return [...(await inBin(path)), ...(await inBin(join(path, 'bin'))), ...(await inVersions(path))];
    }),
  );
  return await distinct(found.flat());
}

async function inVersions(directory: string): Promise<Candidate[]> {
  const names = (await readdir(directory).catch(() => [])).slice(0, MOST_CANDIDATES);
  const places = names.flatMap((name) => [
    join(directory, name, 'bin'),
    join(directory, name, 'installation/bin'), // fnm
  ]);
  return (await Promise.all(places.map((path) => inBin(path)))).flat();
}

async function inBin(directory: string): Promise<Candidate[]> {
  return candidatesNamed(directory, await readdir(directory).catch(() => []), false);
}

function candidatesNamed(directory: string, names: readonly string[], isNamed: boolean): Candidate[] {
  return names.flatMap((name): Candidate[] => {
    const path = join(directory, name);
    if (NODE.test(name)) return [{ language: 'node', path }];
    if (PYTHON.test(name) || (isNamed && name.startsWith('python'))) return [{ language: 'python', path }];
    return [];
  });
}

/** Leaves one of those that are the same file. */
async function distinct(candidates: readonly Candidate[]): Promise<Candidate[]> {
  const seen = new Set<string>();
  const left: Candidate[] = [];
  for (const candidate of candidates) {
    const file = await realpath(candidate.path).catch(() => null);
    if (file === null || seen.has(file)) continue;
    seen.add(file);
    left.push(candidate);
  }
  return left.slice(0, MOST_CANDIDATES);
}
