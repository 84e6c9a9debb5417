import type { Call, CallResult, RuntimeInstance } from '../runtimes/contract/runtime.ts';
import type { SecretMask } from '../secrets/secret-mask.ts';

/**
 * Calls an instance that has secrets: their values are taken out of its log and its errors. Results are its own to say.
 * @throws what the instance throws, without the values
 */
export async function callMasked(instance: RuntimeInstance, call: Call, mask: SecretMask): Promise<CallResult> {
  const log: Call['log'] = {
    write: (line) =>
      call.log.write({
        ...line,
        text: mask.text(line.text),
        ...(line.fields === undefined ? {} : { fields: mask.value(line.fields) }),
      }),
  };
  try {
    const result = await instance.call({ ...call, log });
    return result.ok ? result : { ok: false, error: mask.error(result.error) };
  } catch (thrown) {
    throw mask.thrown(thrown);
  }
}
