import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { INLINE_LIMIT_BYTES } from '@pilum/core/store/task-store.ts';
import type { CallResult } from '../runtimes/contract/runtime.ts';
import { type Ending, storedResult } from './outcomes.ts';
import type { Run } from './run.ts';
import { giveWhole } from './whole-output.ts';

/**
 * Returns the end of a run whose call has come back. A large result is kept beside the outcome; one of a streamed task goes to
 * its readers as well.
 * @param mostBytes what the results of an artifact may hold together
 * @throws InstanceError `OUTPUT_TOO_LARGE` where it is larger than its version or the operator allows
 */
export function endingOfResult(run: Run, version: Version, result: CallResult, mostBytes: number): Ending {
  if (!result.ok) return { status: 'failed', error: result.error };
  const { outputMiB } = version.spec.limits;
  const sizeBytes = result.body.length;
  if (sizeBytes > outputMiB * 1_048_576) {
    throw new InstanceError('OUTPUT_TOO_LARGE', { details: { sizeBytes, limitMiB: outputMiB } });
  }
  if (sizeBytes > mostBytes) {
    throw new InstanceError('OUTPUT_TOO_LARGE', {
      message: `The result has ${sizeBytes} bytes; all results of an artifact together may have ${mostBytes} (PILUM_KEPT_MIB).`,
      hint: 'Return less, or in chunks of a stream. Operator: raise PILUM_KEPT_MIB.',
      details: { sizeBytes, keptBytes: mostBytes },
    });
  }
  // Whoever reads a web endpoint's answer takes a whole one from the outcome.
  const { stream, http } = run.ticket;
  if (stream !== undefined && http === undefined && result.streamed !== true) giveWhole(run.output, result);
  if (sizeBytes > INLINE_LIMIT_BYTES) run.result = result.body;
  return { status: 'completed', result: storedResult(result) };
}
