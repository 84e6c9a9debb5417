import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { Preparation } from '../artifacts/preparations.ts';
import type { InstancePools } from '../pool/instance-pools.ts';
import { loadOnce } from '../pool/load-once.ts';
import type { AvailableRuntimes } from '../runtimes/available-runtimes.ts';

/** Returns how this worker makes a version ready that waits for it; null where it cannot, or where the API does. */
export function preparationOf(version: Version, runtimes: AvailableRuntimes, pools: InstancePools): Preparation | null {
  if (!runtimes.canRun(version)) return null;
  const { preparer } = runtimes.require(version);
  if (preparer !== null) return (_namespace, { spec }, options) => preparer.prepare(spec, options);
  // One that does not say what it waits for is made ready by the API.
  if (version.preparation === undefined || !pools.canHold(version)) return null;
  return async (namespace, one, { signal }) => {
    await loadOnce(pools, namespace, one, signal);
    return {};
  };
}
