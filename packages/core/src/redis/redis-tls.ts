import { readFileSync } from 'node:fs';
import { ConfigurationError } from '../errors/pilum-error.ts';
import type { Problem } from '../schemas/check.ts';

/** Certificates and keys for a TLS connection to Redis, in PEM. */
export interface RedisTls {
  /** Who signs Redis's certificate, instead of the authorities that Node trusts. */
  readonly ca?: string;
  /** What Pilum shows of itself. */
  readonly cert?: string;
  readonly key?: string;
}

/** Files that say how TLS is spoken, as they are configured. */
export interface RedisTlsFiles {
  readonly REDIS_URL: string;
  readonly REDIS_CA_FILE?: string | undefined;
  readonly REDIS_CERT_FILE?: string | undefined;
  readonly REDIS_KEY_FILE?: string | undefined;
}

/**
 * Reads the files for TLS; undefined where none is named.
 * @throws ConfigurationError `CONFIGURATION_INVALID` where one cannot be read or would have no effect
 */
export function readRedisTls(files: RedisTlsFiles): RedisTls | undefined {
  const names = ['REDIS_CA_FILE', 'REDIS_CERT_FILE', 'REDIS_KEY_FILE'] as const;
  const given = names.filter((name) => files[name] !== undefined);
  if (given.length === 0) return undefined;
  const problems: Problem[] = [];
  if (!files.REDIS_URL.startsWith('rediss://')) {
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
      message: `The files for TLS to Redis are not right: ${problems.map(({ where, what }) => `${where} ${what}`).join('; ')}.`,
      details: { problems },
    });
  }
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}
