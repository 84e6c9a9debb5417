import { type ArtifactSpecInput, MAX_WRITABLE_MIB } from '@pilum/core/schemas/artifact-spec.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { SECRETS_DIRECTORY } from '@pilum/core/schemas/secret.ts';

/** Directories that Pilum or the kernel uses itself. */
const TAKEN = ['/proc', '/sys', '/dev', '/tmp', '/code', '/pilum', '/opt', SECRETS_DIRECTORY];
/** Directories of the machine that a sandbox of the process runtime sees read-only. */
const OF_THE_MACHINE = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/etc'];

/** Returns the problems of writable directories that the schema cannot find. */
export function writableProblems({ runtime, writable = [], secrets = {} }: ArtifactSpecInput): Problem[] {
  const taken = runtime === 'process' ? [...TAKEN, ...OF_THE_MACHINE] : TAKEN;
  const hasFiles = Object.values(secrets).some(({ as }) => as === 'file');
  const problems = writable.flatMap(({ path }, i): Problem[] => {
    const where = `/body/writable/${i}/path`;
    const holder = taken.find((other) => isIn(path, other));
    if (holder !== undefined) return [{ where, what: `is in ${holder}, which is not the function's to change` }];
    if (hasFiles && isIn(SECRETS_DIRECTORY, path)) {
      return [{ where, what: `would hide ${SECRETS_DIRECTORY}, where its secrets are` }];
    }
    const other = writable.find((candidate, j) => j !== i && isIn(path, candidate.path));
    return other === undefined ? [] : [{ where, what: `is in ${other.path}, which is writable already` }];
  });
  const sizeMiB = writable.reduce((sum, place) => sum + place.sizeMiB, 0);
  if (sizeMiB > MAX_WRITABLE_MIB) {
    problems.push({ where: '/body/writable', what: `has ${sizeMiB} MiB together, and may have ${MAX_WRITABLE_MIB}` });
  }
  return problems;
}

const isIn = (path: string, directory: string) => path === directory || path.startsWith(`${directory}/`);
