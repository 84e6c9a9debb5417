import { isRelayed, type Network } from './networks.ts';

/** The entry in the limits of a runtime that closes networks to a list. */
export const RELAYS_NETWORKS = 'relay';

/** A runtime of a worker, as that worker says it is now. */
interface Status {
  readonly available: boolean;
  readonly limits: readonly string[];
  readonly interpreters?: readonly { readonly name: string }[];
}

/** The fields of a spec that ask something of the machine that it runs on. */
interface Wanted {
  readonly interpreter?: string;
  readonly limits: { readonly network: Network };
}

/** Tells whether a runtime of a worker, as it is now, could run a version with such a spec. */
export function canRunOn(status: Status, wanted: Wanted): boolean {
  return (
    status.available &&
    hasInterpreter(status, wanted) &&
    (!isRelayed(wanted.limits.network) || status.limits.includes(RELAYS_NETWORKS))
  );
}

/** Tells whether a runtime of a worker has the interpreter that a spec names, or the spec names none. */
export function hasInterpreter({ interpreters = [] }: Status, { interpreter }: Wanted): boolean {
  return interpreter === undefined || interpreters.some(({ name }) => name === interpreter);
}
