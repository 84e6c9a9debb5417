import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import { parseAllowed } from '@pilum/core/spec/networks.ts';

const where = '/body/limits/network/allow';

/** Returns the problems of the list of names and addresses that a spec opens. */
export function networkProblems({ limits }: ArtifactSpecInput): Problem[] {
  const network = limits?.network;
  if (typeof network !== 'object') return [];
  return network.allow.flatMap((entry, index) => {
    const what = problemOf(entry);
    return what === null ? [] : [{ where: `${where}/${index}`, what: `${JSON.stringify(entry)}: ${what}` }];
  });
}

/** Says what is wrong with an entry; null where nothing is. */
function problemOf(entry: string): string | null {
  try {
    const target = parseAllowed(entry);
    if (target.kind === 'name') return null;
    const { address, port } = target;
    const isLoopback = address.startsWith('127.') || address === '::1';
    // Without a port the function's own servers would be out of its reach.
    return isLoopback && port === null ? 'a loopback address needs a port, such as 127.0.0.1:5432' : null;
  } catch (error) {
    return (error as Error).message;
  }
}
