import type { Configuration } from '@pilum/core/config/config.ts';
import { parseRedisUrl } from '@pilum/core/config/redis-url.ts';
import { ConfigurationError } from '@pilum/core/errors/pilum-error.ts';
import { type AllowedTarget, parseAllowed } from '@pilum/core/spec/networks.ts';
import type { RelaySettings } from './sandbox/network/relay/wire.ts';

type Settings = Pick<Configuration, 'RESOLVER' | 'NETWORK_DENY' | 'REDIS_URL' | 'HOST' | 'PORT'>;

/**
 * Returns what the relay of a worker asks, and what it never reaches.
 * @throws ConfigurationError `CONFIGURATION_INVALID` for an address that is none
 */
export function relaySettings({ RESOLVER, NETWORK_DENY, REDIS_URL, HOST, PORT }: Settings): RelaySettings {
  const { host, port = DEFAULT_REDIS_PORT, sentinels = [] } = parseRedisUrl(REDIS_URL);
  return {
    resolvers: listOf(RESOLVER),
    denied: listOf(NETWORK_DENY).map(addressesOf),
    guarded: [
      ...(host === undefined ? [] : [{ host, port }]),
      // Which Redis is the primary changes; most stand beside a Sentinel.
      ...sentinels.flatMap((sentinel) => [sentinel, { host: sentinel.host, port: DEFAULT_REDIS_PORT }]),
      ...(PORT === 0 ? [] : [{ host: isEverywhere(HOST) ? '127.0.0.1' : HOST, port: PORT }]),
    ],
  };
}

const DEFAULT_REDIS_PORT = 6379;

const isEverywhere = (host: string) => host === '0.0.0.0' || host === '::';

const listOf = (text: string | undefined) => (text === undefined ? [] : text.split(',').map((entry) => entry.trim()));

function addressesOf(entry: string): AllowedTarget {
  let problem = 'a name cannot be closed, its addresses can';
  try {
    const target = parseAllowed(entry);
    if (target.kind === 'addresses' && target.port === null) return target;
    if (target.port !== null) problem = 'an address is closed with all of its ports';
  } catch (error) {
    problem = (error as Error).message;
  }
  throw new ConfigurationError('CONFIGURATION_INVALID', { message: `PILUM_NETWORK_DENY has ${entry}: ${problem}.` });
}
