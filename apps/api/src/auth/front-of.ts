import type { Configuration } from '@pilum/core/config/config.ts';
import { ConfigurationError } from '@pilum/core/errors/pilum-error.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import { ArtifactReference, Name } from '@pilum/core/schemas/names.ts';
import { Front, type OwnHost } from './front.ts';
import { DEFAULT_NAMESPACE } from './guard.ts';

type Settings = Pick<Configuration, 'PUBLIC_URL' | 'TRUST_PROXY' | 'FUNCTION_HOSTS'>;

/**
 * Reads the operator's settings about proxies and host names.
 * @throws ConfigurationError `CONFIGURATION_INVALID`
 */
export function frontOf({ PUBLIC_URL, TRUST_PROXY, FUNCTION_HOSTS }: Settings): Front {
  const publicUrl = PUBLIC_URL === undefined ? null : URL.parse(PUBLIC_URL);
  if (PUBLIC_URL !== undefined && publicUrl === null) throw wrong(`PILUM_PUBLIC_URL is ${PUBLIC_URL}, which is no URL`);
  const hosts = hostsOf(FUNCTION_HOSTS);
  if (publicUrl !== null && hosts.has(publicUrl.host)) {
    throw wrong(`PILUM_FUNCTION_HOSTS gives ${publicUrl.host} to a function, and PILUM_PUBLIC_URL to the API`);
  }
  try {
    return new Front({ publicUrl, proxies: wordsOf(TRUST_PROXY), hosts });
  } catch (error) {
    throw wrong(
      `PILUM_TRUST_PROXY: ${(error as Error).message}; it takes addresses, networks, loopback, private and all`,
    );
  }
}

function hostsOf(setting: string | undefined): Map<string, OwnHost> {
  const hosts = new Map<string, OwnHost>();
  for (const entry of wordsOf(setting)) {
    const [named = '', target = ''] = entry.split('=').map((part) => part.trim());
    const host = URL.parse(`http://${named}`);
    const [reference = '', namespace = DEFAULT_NAMESPACE] = target.split('/').reverse();
    if (host === null || host.pathname !== '/' || host.username !== '' || named.includes('/')) {
      throw wrong(`PILUM_FUNCTION_HOSTS names ${JSON.stringify(named)}, which is no host, such as shop.example`);
    }
    if (!matches(ArtifactReference, reference) || !matches(Name, namespace) || target.split('/').length > 2) {
      throw wrong(
        `PILUM_FUNCTION_HOSTS gives ${named} to ${JSON.stringify(target)}, which is no artifact, such as web, web@live or team/web`,
      );
    }
    if (hosts.has(host.host)) throw wrong(`PILUM_FUNCTION_HOSTS names ${named} twice`);
    hosts.set(host.host, { namespace, reference });
  }
  return hosts;
}

const wordsOf = (setting = '') =>
  setting
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');

const wrong = (what: string) =>
  new ConfigurationError('CONFIGURATION_INVALID', { message: `The configuration is not valid: ${what}.` });
