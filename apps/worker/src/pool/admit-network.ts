import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { hasKeylessApi } from '@pilum/core/store/keyless-apis.ts';

export const wantsHostNetwork = ({ spec }: Pick<Version, 'spec'>) => spec.limits.network === 'host';

/**
 * Refuses a start with the network of the machine while there is an API that asks nobody for a key.
 * @throws RequestError `FORBIDDEN`
 */
export async function admitNetwork(redis: Redis, version: Pick<Version, 'spec'>): Promise<void> {
  if (!wantsHostNetwork(version) || !(await hasKeylessApi(redis))) return;
  throw new RequestError('FORBIDDEN', {
    message:
      'No function gets the network of its host while an API asks for no key: it could do there all that an operator can.',
    hint: 'Set PILUM_API_KEY for every API of this Pilum, or deploy it with limits.network none.',
  });
}
