import { constants } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { execa } from 'execa';
import { isOpenToOthers } from './staging.ts';

/** A Python that sandboxes can run, or one sentence on why there is none. */
export type PythonProbe =
  | {
      readonly ok: true;
      readonly path: string;
      /** Such as `3.12.1`. */
      readonly version: string;
      /** Directories outside /usr that it lives in. */
      readonly directories: readonly string[];
      /** The one of its paths that the unprivileged user of a sandbox cannot reach; null where that can reach all. */
      readonly closed: string | null;
    }
  | { readonly ok: false; readonly problem: string };

const WHERE_IT_IS =
  'import sys; print(sys.executable, sys.base_prefix, sys.prefix, ".".join(map(str, sys.version_info[:3])), sep="\\n")';

/** Looks at the interpreter that was configured. A shim (pyenv's, for one) is resolved to what it starts. */
export async function probePython(pythonPath: string | null): Promise<PythonProbe> {
  if (pythonPath === null) return { ok: false, problem: 'there is no python3: run "apt-get install python3"' };
  const python = await lookAtPython(pythonPath);
  if (!python.ok || python.closed === null) return python;
  const problem = `${python.closed} cannot be reached by the unprivileged user of a sandbox: use a python3 in /usr`;
  return { ok: false, problem };
}

/** Looks at an interpreter, wherever it is. */
export async function lookAtPython(pythonPath: string): Promise<PythonProbe> {
  const result = await execa(pythonPath, ['-I', '-c', WHERE_IT_IS], {
    reject: false,
    stdin: 'ignore',
    timeout: 10_000,
  });
  const [executable, basePrefix, prefix, version] = result.stdout?.split('\n') ?? [];
  if (result.failed || !executable || !basePrefix || !prefix || !version?.startsWith('3.')) {
    return {
      ok: false,
      problem: `${pythonPath} is not a Python 3 that runs (${result.originalMessage ?? `exit code ${result.exitCode}`})`,
    };
  }
  const isOutside = (path: string) => path !== '/usr' && !path.startsWith('/usr/');
  const directories = [...new Set([basePrefix, prefix])].filter(isOutside);
  const closed = await firstClosed([...directories, await realpath(executable)]);
  return { ok: true, path: executable, version, directories, closed };
}

/** Returns the first of the paths that a user who owns nothing here cannot reach, where instances are such users. */
async function firstClosed(paths: readonly string[]): Promise<string | null> {
  if (process.getuid?.() !== 0) return null;
  for (const path of paths) if (!(await isOpenToOthers(path, constants.S_IXOTH))) return path;
  return null;
}
