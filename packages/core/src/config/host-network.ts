import { ConfigurationError } from '../errors/pilum-error.ts';
import type { Configuration } from './config.ts';

type Settings = Pick<Configuration, 'ALLOW_HOST_NETWORK' | 'API_KEY' | 'REDIS_URL'>;

/**
 * Refuses settings by which a function with the network of its machine would have all of Pilum: over an API that asks for no
 * key, or over a Redis that asks for no password.
 * @param part whose settings these are; the key is known to the API only
 * @throws ConfigurationError `CONFIGURATION_INVALID`
 */
export function requireClosedToFunctions(settings: Settings, part: 'api' | 'worker'): void {
  const { ALLOW_HOST_NETWORK, API_KEY, REDIS_URL } = settings;
  if (!ALLOW_HOST_NETWORK) return;
  if (part === 'api' && API_KEY === undefined) {
    throw refusal(
      'the API asks for no key, so that such a function could do all that an operator can: set PILUM_API_KEY (16 characters or more) as well',
    );
  }
  if (isOpenRedis(REDIS_URL)) {
    throw refusal(
      'Redis asks for no password at the address of PILUM_REDIS_URL, so that such a function could do everything there: give it one (redis://:password@host:port), or a socket (unix:///path)',
    );
  }
}

/** Whether a Redis is reached over a network, and without a password as far as its address says. */
function isOpenRedis(url: string): boolean {
  return !url.startsWith('unix://') && !URL.parse(url)?.password;
}

const refusal = (why: string) =>
  new ConfigurationError('CONFIGURATION_INVALID', {
    message: `PILUM_ALLOW_HOST_NETWORK gives functions the network of the machine, and ${why}; or leave PILUM_ALLOW_HOST_NETWORK out.`,
  });
