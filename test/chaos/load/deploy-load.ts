import { artifactSpecs, type CollectorAddress } from './functions.ts';
import type { HttpClient } from './http-client.ts';

/**
 * Deploys the functions of the load.
 * @throws Error where one is refused
 */
export async function deployLoad(client: HttpClient, collector: CollectorAddress): Promise<void> {
  for (const [id, spec] of artifactSpecs(collector)) {
    const answer = await client.call({
      method: 'PUT',
      path: `/v1/artifacts/${id}`,
      body: JSON.stringify(spec),
      giveUpAfterMs: 10_000,
    });
    if (answer.http === 201) continue;
    throw new Error(`${id} could not be deployed: ${answer.http === null ? answer.code : answer.text}`);
  }
}
