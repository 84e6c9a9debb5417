import { constants } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { execa } from 'execa';
import { isOpenToOthers } from './staging.ts';

/** A Python that sandboxes can run, or one sentence on why there is none. */
export type PythonProbe =
  | {
      readonly ok: true;
      readonly path: string;
      /** Directories outside /usr that it lives in. */
      readonly directories: readonly string[];
    }
  | { readonly ok: false; readonly problem: string };

const WHERE_IT_IS = 'import sys; print(sys.executable, sys.base_prefix, sys.prefix, sys.version_info[0], sep="\\n")';

/** Looks at the interpreter that was configured. A shim (pyenv's, for one) is resolved to what it starts. */
export async function probePython(pythonPath: string | null): Promise<PythonProbe> {
  if (pythonPath === null) return { ok: false, problem: 'there is no python3: run "apt-get install python3"' };
  const result = await execa(pythonPath, ['-I', '-c', WHERE_IT_IS], {
    reject: false,
    stdin: 'ignore',
    timeout: 10_000,
  });
  const [executable, basePrefix, prefix, major] = result.stdout?.split('\n') ?? [];
  if (result.failed || !executable || !basePrefix || !prefix || major !== '3') {
    return {
      ok: false,
      problem: `${pythonPath} is not a Python 3 that runs (${result.originalMessage ?? `exit code ${result.exitCode}`})`,
    };
  }
  const isOutside = (path: string) => path !== '/usr' && !path.startsWith('/usr/');
  const directories = [...new Set([basePrefix, prefix])].filter(isOutside);
  if (process.getuid?.() === 0) {
    for (const path of [...directories, await realpath(executable)]) {
      if (await isOpenToOthers(path, constants.S_IXOTH)) continue;
      return {
        ok: false,
        problem: `${path} cannot be reached by the unprivileged user of a sandbox: use a python3 in /usr`,
      };
    }
  }
  return { ok: true, path: executable, directories };
}
