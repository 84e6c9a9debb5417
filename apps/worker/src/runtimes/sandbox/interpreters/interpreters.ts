import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { InterpreterInfo } from '@pilum/core/schemas/worker.ts';
import {
  compareVersions,
  interpreterName,
  isRecentEnough,
  oldestOf,
  programNames,
} from '@pilum/core/spec/interpreters.ts';
import type { Language } from '@pilum/core/spec/languages.ts';
import { lookAtPython, type PythonProbe } from '../python.ts';
import { areThere, stageNode } from '../staging.ts';
import { type Candidate, findCandidates, namedCandidates } from './candidates.ts';
import { nodeVersion } from './probe-node.ts';
import { stageLinks } from './stage-links.ts';
import { stageTree } from './stage-tree.ts';

/** An interpreter where instances can be given it. */
export interface PlacedInterpreter {
  readonly language: Language;
  /** The path of the executable on this machine; a sandbox has a Node at a place of its own. */
  readonly path: string;
  /** The directories that a sandbox has to see, and where. */
  readonly directories: readonly { readonly from: string; readonly to: string }[];
  /** A directory with links by the names under which programs look for it: it goes first on their PATH. */
  readonly bin: string;
}

/** The interpreters of a worker by the names that specs give them. */
interface Found extends InterpreterInfo {
  readonly language: Language;
  readonly path: string;
  readonly directories: readonly string[];
  /** True where it has to be staged before instances can be given it. */
  readonly isClosed: boolean;
}

export interface InterpretersOptions {
  /** The setting: `auto` for what is found on this machine, `none` for the worker's own, else paths by commas. */
  readonly interpreters: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly stagingDirectory: string;
  readonly isolation: 'sandbox' | 'none';
  /** The worker's own Node, which is the default. */
  readonly nodePath: string;
  /** The default Python. */
  readonly python: PythonProbe;
}

/** Looks at this many at once. */
const AT_ONCE = 4;

/** The interpreters that this worker has for functions that name one, several versions side by side. */
export class Interpreters {
  readonly #found: ReadonlyMap<string, Found>;
  readonly #stagingDirectory: string;
  readonly #placing = new Map<string, Promise<PlacedInterpreter>>();
  readonly #placed = new Map<string, PlacedInterpreter>();
  /** Interpreters that were named and are not used, and why; for a person to read. */
  readonly notes: readonly string[];

  private constructor(found: readonly Found[], notes: readonly string[], stagingDirectory: string) {
    this.#found = new Map(found.map((one) => [one.name, one]));
    this.notes = notes;
    this.#stagingDirectory = stagingDirectory;
  }

  /** Finds the interpreters of this machine; of two with one name the default one is taken, then the newest. */
  static async find(options: InterpretersOptions): Promise<Interpreters> {
    const { interpreters: setting, python, nodePath, stagingDirectory, environment = {} } = options;
    const ownPython = python.ok
      ? foundAs({ language: 'python', path: python.path }, python.version, { ...python, isDefault: true })
      : [];
    const ownNode = foundAs({ language: 'node', path: nodePath }, process.versions.node, { isDefault: true });
    const isNamed = setting !== 'auto' && setting !== 'none';
    const candidates = isNamed
      ? await namedCandidates(setting.split(',').map((path) => path.trim()))
      : setting === 'auto'
        ? await findCandidates(environment)
        : [];
    const looked = await lookAtAll(candidates, options);
    const others = looked.flatMap((one) => (typeof one === 'string' ? [] : [one]));
    const notes = looked.filter((one) => typeof one === 'string');
    const missing = isNamed && candidates.length === 0 ? [`PILUM_INTERPRETERS names no interpreter: ${setting}`] : [];
    // The last one of a name counts.
    const byVersion = others.toSorted((one, other) => compareVersions(one.version, other.version));
    const ordered = [...byVersion, ...ownNode, ...ownPython];
    return new Interpreters(ordered, isNamed ? [...missing, ...notes] : [], stagingDirectory);
  }

  /** Lists them as others see them, sorted by name. */
  get infos(): InterpreterInfo[] {
    return [...this.#found.values()]
      .map(({ name, version, isDefault }) => ({ name, version, ...(isDefault === true ? { isDefault } : {}) }))
      .toSorted((one, other) => (one.name < other.name ? -1 : 1));
  }

  /**
   * Places an interpreter where instances can be given it.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE` where there is none of that name
   */
  async place(name: string): Promise<PlacedInterpreter> {
    const found = this.#found.get(name);
    if (found === undefined) {
      const there = [...this.#found.keys()].join(', ');
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `This worker has no ${name}; it has ${there}.` });
    }
    const before = this.#placed.get(name);
    // A cleaner may have taken away what was staged: it is made again at the same place.
    if (before !== undefined && !(await areThere(pathsOf(before)))) this.#placing.delete(name);
    const placing = this.#placing.get(name) ?? this.#place(found);
    this.#placing.set(name, placing);
    try {
      const placed = await placing;
      this.#placed.set(name, placed);
      return placed;
    } catch (error) {
      this.#placing.delete(name);
      const said = error instanceof Error ? error.message : String(error);
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `${name} could not be placed: ${said}`, cause: error });
    }
  }

  /** Returns an interpreter that was placed before. */
  placed(name: string): PlacedInterpreter {
    const placed = this.#placed.get(name);
    if (placed === undefined) throw new Error(`${name} was not placed`);
    return placed;
  }

  async #place({ language, path, directories, isClosed }: Found): Promise<PlacedInterpreter> {
    const staging = this.#stagingDirectory;
    const executable = language === 'node' ? await stageNode(staging, path) : path;
    const seen: { from: string; to: string }[] = [];
    for (const to of directories) {
      seen.push({ from: isClosed ? await stageTree(staging, to, await marksOf(to, path)) : to, to });
    }
    return { language, path: executable, directories: seen, bin: await stageLinks(staging, language, executable) };
  }
}

/** Lists what instances are given of an interpreter. */
const pathsOf = ({ path, directories, bin, language }: PlacedInterpreter) => [
  ...(language === 'node' ? [path] : []),
  ...directories.map(({ from }) => from),
  ...programNames(language).map((name) => join(bin, name)),
];

/** Returns what is known of an interpreter; none where it is too old, or no version. */
function foundAs(
  { language, path }: Candidate,
  version: string,
  more: { directories?: readonly string[]; closed?: string | null; isDefault?: boolean } = {},
): Found[] {
  const name = interpreterName(language, version);
  if (name === null || !isRecentEnough(language, version)) return [];
  const { directories = [], closed = null, isDefault = false } = more;
  return [
    { name, language, version, path, directories, isClosed: closed !== null, ...(isDefault ? { isDefault } : {}) },
  ];
}

/** Looks at executables, each of which comes to an interpreter or to why it is none that is used. */
async function lookAtAll(candidates: readonly Candidate[], options: InterpretersOptions): Promise<(Found | string)[]> {
  const results: (Found | string)[] = [];
  const left = [...candidates];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) results.push(await lookAt(next, options));
    }),
  );
  return results;
}

async function lookAt(candidate: Candidate, { isolation }: InterpretersOptions): Promise<Found | string> {
  const { language, path } = candidate;
  if (language === 'node') {
    const version = await nodeVersion(path);
    if (version === null) return `${path} is not a Node that runs`;
    return foundAs(candidate, version)[0] ?? tooOld(path, language, version);
  }
  const python = await lookAtPython(path);
  if (!python.ok) return python.problem;
  if (python.closed !== null && (isolation === 'none' || python.directories.length === 0)) {
    return `${python.closed} cannot be reached by the unprivileged user of a function`;
  }
  const found = foundAs({ language, path: python.path }, python.version, python);
  return found[0] ?? tooOld(path, language, python.version);
}

const tooOld = (path: string, language: Language, version: string) =>
  `${path} is version ${version}, and functions need ${oldestOf(language)} at least`;

/** Returns values that change when an installation is replaced, or gets other packages. */
async function marksOf(directory: string, executable: string): Promise<(string | number)[]> {
  const [home, program] = await Promise.all([stat(directory), stat(await realpath(executable))]);
  const packages = await Promise.all(
    (await libraries(directory)).map((path) =>
      stat(path).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      ),
    ),
  );
  return [home.ino, program.size, program.mtimeMs, ...packages];
}

async function libraries(directory: string): Promise<string[]> {
  const lib = join(directory, 'lib');
  const names = await readdir(lib).catch(() => []);
  return names.filter((name) => name.startsWith('python3')).map((name) => join(lib, name, 'site-packages'));
}
