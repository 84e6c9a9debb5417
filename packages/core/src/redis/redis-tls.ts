import { readFileSync } from 'node:fs';
import { ConfigurationError } from '../errors/pilum-error.ts';
import type { Problem } from '../schemas/check.ts';

/** Certificates and keys for a TLS connection to Redis, in PEM, and what else does not stand in its URL. */
export interface RedisTls {
  /** Certificate of the authority that signs Redis's, instead of those that Node trusts. */
  readonly ca?: string;
  /** Certificate that Pilum shows of itself, and its key. */
  readonly cert?: string;
  readonly key?: string;
  /** The password that Sentinels ask for; none where it is left out. */
  readonly sentinelPassword?: string;
}

/** Files that say how TLS is spoken, as they are configured. */
export interface RedisTlsFiles {
  readonly REDIS_URL: string;
  readonly REDIS_CA_FILE?: string | undefined;
  readonly REDIS_CERT_FILE?: string | undefined;
  readonly REDIS_KEY_FILE?: string | undefined;
  readonly REDIS_SENTINEL_PASSWORD?: string | undefined;
}

/**
 * Reads the files for TLS; undefined where none is named.
 * @throws ConfigurationError `CONFIGURATION_INVALID` where one cannot be read or would have no effect
 */
export function readRedisTls(files: RedisTlsFiles): RedisTls | undefined {
  const names = ['REDIS_CA_FILE', 'REDIS_CERT_FILE', 'REDIS_KEY_FILE'] as const;
  const given = names.filter((name) => files[name] !== undefined);
  const { REDIS_SENTINEL_PASSWORD: sentinelPassword } = files;
  if (given.length === 0 && sentinelPassword === undefined) return undefined;
  const problems: Problem[] = [];
  if (sentinelPassword !== undefined && !/^rediss?\+sentinel:/.test(files.REDIS_URL)) {
    problems.push({
      where: 'PILUM_REDIS_SENTINEL_PASSWORD',
      what: 'has an effect on redis+sentinel:// alone, which PILUM_REDIS_URL does not begin with',
    });
  }
  if (!isTlsUrl(files.REDIS_URL)) {
    for (const name of given) {
      problems.push({
        where: `PILUM_${name}`,
        what: 'has an effect on rediss:// alone, which PILUM_REDIS_URL does not begin with',
      });
    }
  }
  if ((files.REDIS_CERT_FILE === undefined) !== (files.REDIS_KEY_FILE === undefined)) {
    problems.push({
      where: 'PILUM_REDIS_CERT_FILE',
      what: 'and PILUM_REDIS_KEY_FILE are a pair: name both, or neither',
    });
  }
  const read = (name: (typeof names)[number]): string | undefined => {
    const path = files[name];
    if (path === undefined) return undefined;
    try {
      const text = readFileSync(path, 'utf8');
      if (text.includes('-----BEGIN ')) return text;
      problems.push({ where: `PILUM_${name}`, what: `names ${path}, which is no PEM file` });
    } catch (error) {
      problems.push({
        where: `PILUM_${name}`,
        what: `names ${path}, which cannot be read (${(error as NodeJS.ErrnoException).code})`,
      });
    }
    return undefined;
  };
  const [ca, cert, key] = names.map(read);
  if (problems.length > 0) {
    throw new ConfigurationError('CONFIGURATION_INVALID', {
      message: `The settings of the connection to Redis are not right: ${problems.map(({ where, what }) => `${where} ${what}`).join('; ')}.`,
      details: { problems },
    });
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
  };
}

/** Returns whether TLS is spoken to the Redis of a URL. */
export const isTlsUrl = (url: string) => /^rediss(?:\+sentinel)?:/.test(url);
