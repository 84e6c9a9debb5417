import { ArtifactError, RuntimeError, toPilumError } from '@pilum/core/errors/pilum-error.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { InstancePools } from './instance-pools.ts';

/** Name for which an instance is leased where there is no task. */
const FOR_DEPLOY = 'deploy';
/** Failures of a start that say something of the code, and would be the same again. */
const OF_THE_CODE: readonly string[] = [
  'INSTANCE_START_FAILED',
  'FUNCTION_FAILED',
  'OUT_OF_MEMORY',
  'CHECKSUM_MISMATCH',
  'BLOB_NOT_FOUND',
];

/**
 * Starts an instance of a version as a first call would, to see that its code is whole and loads. It stays for that call.
 * @throws ArtifactError `CODE_DOES_NOT_LOAD`; RuntimeError `RUNTIME_UNAVAILABLE` where it may be tried again; the
 *   signal's reason
 */
export async function loadOnce(
  pools: InstancePools,
  namespace: string,
  version: Version,
  signal: AbortSignal,
): Promise<void> {
  try {
    await pools.with(namespace, version, async (pool) => {
      const lease = await pool.lease(FOR_DEPLOY, signal);
      await lease.done({ healthy: true, graceMs: 0 });
    });
  } catch (thrown) {
    signal.throwIfAborted();
    const { code, message, details, hint } = toPilumError(thrown);
    if (!OF_THE_CODE.includes(code)) {
      throw new RuntimeError('RUNTIME_UNAVAILABLE', {
        message: `The code could not be loaded at the moment: ${message}`,
        cause: thrown,
      });
    }
    throw new ArtifactError('CODE_DOES_NOT_LOAD', {
      message: `${version.spec.protocol === 'handler' ? 'The code of this version does not load' : 'This version does not start'}: ${message}`,
      ...(hint === undefined ? {} : { hint }),
      details: { ...details, reason: code },
      cause: thrown,
    });
  }
}
