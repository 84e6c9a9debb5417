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
}

const FORM = 'redis://[user:password@]host[:port][/database], rediss://… with TLS, or unix:///path/redis.sock';
const DEFAULT_PORT = 6379;

/** The database that a URL names may be up to this; how many there are Redis says. */
const MOST_DATABASES = 1_000_000;

/**
 * Reads a URL of Redis. What would have no effect is refused by name: someone who wrote `?db=5` wants that database and no other.
 * @throws ConfigurationError `CONFIGURATION_INVALID` that says what is wrong, and never shows the password
 */
export function parseRedisUrl(url: string): RedisAddress {
  const scheme = /^(rediss?|unix):\/\//.exec(url)?.[1];
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
  return scheme === 'unix' ? socketOf(url) : networkOf(url);
}

function socketOf(url: string): RedisAddress {
  const path = decoded(url.slice('unix://'.length), 'path');
  if (!path.startsWith('/'))
    throw wrong('names no absolute path of a socket: unix:///path/redis.sock has three slashes');
  return { path, isTls: false };
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

/** What follows a question mark; null where there is none. */
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
