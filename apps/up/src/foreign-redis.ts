import { readVariable } from '@pilum/core/config/read-configuration.ts';
import { ConfigurationError } from '@pilum/core/errors/pilum-error.ts';
import { connect } from '@pilum/core/redis/connect.ts';
import { isTlsUrl, readRedisTls } from '@pilum/core/redis/redis-tls.ts';
import { RedisWatch } from '@pilum/core/redis/redis-watch.ts';
import { Refusal } from '../setup/refusal.mjs';

const PATIENCE_MS = 5000;

/**
 * Checks that the Redis of `--redis` answers us, and can keep what Pilum promises.
 * @returns what its operator should know of it
 * @throws Refusal that says what it, or the network, has said.
 */
export async function checkRedis(
  url: string,
  environment: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<string[]> {
  let said = `it did not answer for ${PATIENCE_MS / 1000} s`;
  const warnings: string[] = [];
  const patience = AbortSignal.timeout(PATIENCE_MS);
  let redis: ReturnType<typeof connect> | undefined;
  try {
    const tls = readRedisTls({
      REDIS_URL: url,
      REDIS_CA_FILE: environment.PILUM_REDIS_CA_FILE || undefined,
      REDIS_CERT_FILE: environment.PILUM_REDIS_CERT_FILE || undefined,
      REDIS_KEY_FILE: environment.PILUM_REDIS_KEY_FILE || undefined,
      REDIS_SENTINEL_PASSWORD: environment.PILUM_REDIS_SENTINEL_PASSWORD || undefined,
    });
    redis = connect({ url, tls, name: 'pilum-up' }, (error) => {
      said = error.message || (error as NodeJS.ErrnoException).code || said;
    });
    const watch = new RedisWatch(redis, {
      allowEviction: readVariable(environment, 'REDIS_ALLOW_EVICTION'),
      isTls: isTlsUrl(url),
      log: {
        warn: (fields, message) => {
          if (!('err' in fields)) warnings.push(message);
        },
        error: () => undefined, // it is thrown as well
      },
    });
    await watch.meet(AbortSignal.any([signal, patience]));
    return warnings;
  } catch (error) {
    signal.throwIfAborted();
    // A Redis that answers with an error has answered: a wrong password does not get better by waiting.
    const why = error instanceof ConfigurationError || !patience.aborted ? (error as Error).message : said;
    throw new Refusal(
      `The Redis of --redis cannot be used (${why.replace(/\.$/, '')}): start it, or put it or the URL right.`,
    );
  } finally {
    redis?.disconnect();
  }
}
