import { ConfigurationError } from '../errors/pilum-error.ts';

/** The address of Redis, and the user as whom it is spoken to. */
export interface RedisAddress {
  readonly path?: string;
  readonly host?: string;
  readonly port?: number;
  readonly username?: string;
  readonly password?: string;
  readonly db?: number;
  readonly isTls: boolean;
  /** Addresses of its Sentinels, which say which Redis is the primary. */
  readonly sentinels?: readonly HostAndPort[];
  /** Name of the primary at its Sentinels. */
  readonly primary?: string;
}

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

const FORM =
  'redis://[user:password@]host[:port][/database], rediss://… with TLS, unix:///path/redis.sock, or redis+sentinel://[user:password@]host[:port],host[:port]…/primary[/database]';
const DEFAULT_PORT = 6379;
const DEFAULT_SENTINEL_PORT = 26_379;
/** Most Sentinels of a URL. */
const MOST_SENTINELS = 32;

/** The database that a URL names may be up to this; how many there are Redis says. */
const MOST_DATABASES = 1_000_000;

/**
 * Reads a URL of Redis. What would have no effect is refused by name: someone who wrote `?db=5` wants that database and no other.
 * @throws ConfigurationError `CONFIGURATION_INVALID` that says what is wrong, and never shows the password
 */
export function parseRedisUrl(url: string): RedisAddress {
  const scheme = /^(rediss?(?:\+sentinel)?|unix):\/\//.exec(url)?.[1];
  if (scheme === undefined) throw wrong(`begins with none of redis://, rediss:// and unix://; it is to be ${FORM}`);
  if (url !== url.trim()) throw wrong('has a space or line end around it');
  const query = queryOf(url);
  if (query !== null) {
    const database = /(?:^|&)db=(\d+)/.exec(query)?.[1];
    throw wrong(
      database !== undefined && scheme !== 'unix'
        ? `has the option "db", which is not read: name the database in the path, …/${database}`
        : `has options (${namesOf(query)}) that are not read: leave them out`,
    );
  }
  if (url.includes('#')) throw wrong('has a "#", and what follows is not read: in a password it is written %23');
  if (scheme.endsWith('+sentinel')) return sentinelsOf(url, scheme);
  return scheme === 'unix' ? socketOf(url) : networkOf(url);
}

function socketOf(url: string): RedisAddress {
  const path = decoded(url.slice('unix://'.length), 'path');
  if (!path.startsWith('/'))
    throw wrong('names no absolute path of a socket: unix:///path/redis.sock has three slashes');
  return { path, isTls: false };
}

/** Reads the form with several hosts, which WHATWG's URLs do not have: each of them is read as the one of a URL. */
function sentinelsOf(text: string, scheme: string): RedisAddress {
  const rest = text.slice(`${scheme}://`.length);
  const slash = rest.indexOf('/');
  const [name = '', ...path] = slash === -1 ? [] : rest.slice(slash + 1).split('/');
  if (name === '') throw wrong(`names no primary: Sentinels know it by a name, and it is to be ${FORM}`);
  const authority = slash === -1 ? rest : rest.slice(0, slash);
  const at = authority.lastIndexOf('@');
  const user = authority.slice(0, at + 1);
  const hosts = authority.slice(at + 1).split(',');
  if (hosts.length > MOST_SENTINELS) throw wrong(`names ${hosts.length} Sentinels; there may be ${MOST_SENTINELS}`);
  const sentinels = hosts.map((host) => {
    const { host: name = '', port = 0 } = networkOf(`redis://${host}`);
    return { host: name, port: /:\d+$/.test(host) ? port : DEFAULT_SENTINEL_PORT };
  });
  const { username, password, db } = networkOf(`redis://${user}primary/${path.join('/')}`);
  return {
    sentinels,
    primary: decoded(name, 'name of a primary'),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(db === undefined ? {} : { db }),
    isTls: scheme.startsWith('rediss'),
  };
}

function networkOf(text: string): RedisAddress {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // Its own message would show the password.
    throw wrong(
      `cannot be read: it is to be ${FORM}; a port is up to 65535, and special characters of a password are written %…`,
    );
  }
  const { protocol, hostname, port, username, password, pathname } = url;
  if (hostname === '') throw wrong(`names no host: it is to be ${FORM}`);
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? DEFAULT_PORT : Number(port),
    ...(username === '' ? {} : { username: decoded(username, 'user') }),
    ...(password === '' ? {} : { password: decoded(password, 'password') }),
    ...databaseOf(pathname),
    isTls: protocol === 'rediss:',
  };
}

function databaseOf(pathname: string): { readonly db?: number } {
  const name = pathname.slice(1);
  if (name === '') return {};
  if (/^\d+$/.test(name) && Number(name) <= MOST_DATABASES) return { db: Number(name) };
  throw wrong(
    `names the database "${name.slice(0, 40)}": databases of Redis are numbers, /0 to /15 where nothing else is set`,
  );
}

/** Returns what follows a question mark; null where there is none. */
function queryOf(url: string): string | null {
  const mark = url.indexOf('?');
  return mark === -1 ? null : url.slice(mark + 1);
}

function namesOf(query: string): string {
  const names = [...new URLSearchParams(query).keys()];
  return names.length === 0 ? '?' : names.map((name) => `"${name.slice(0, 40)}"`).join(', ');
}

function decoded(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrong(`has a ${what} with a "%" that begins no character: a percent sign itself is written %25`);
  }
}

function wrong(what: string): ConfigurationError {
  return new ConfigurationError('CONFIGURATION_INVALID', {
    message: `The URL of Redis ${what}.`,
    details: { problems: [{ where: 'PILUM_REDIS_URL', what }] },
  });
}
