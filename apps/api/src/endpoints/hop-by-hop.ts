/** Headers about a single connection: those of RFC 9110, section 7.6.1, and older ones. */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/**
 * Makes a test for hop-by-hop headers, which must not be passed on.
 * @param connection value of the header Connection, which may name more of them
 */
export function hopByHop(connection: string | undefined): (name: string) => boolean {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return isOfTheConnection;
  const named = new Set(connection.split(',').map((name) => name.trim().toLowerCase()));
  return (name) => OF_THE_CONNECTION.has(name) || named.has(name);
}

const isOfTheConnection = (name: string) => OF_THE_CONNECTION.has(name);
