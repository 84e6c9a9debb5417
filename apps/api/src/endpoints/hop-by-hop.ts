/** Headers that are about one connection and not about what is said over it: RFC 9110, section 7.6.1, and what came before it. */
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
 * Says of a header whether it ends with its connection.
 * @param connection value of the header Connection, which may name more of them
 */
export function hopByHop(connection: string | undefined): (name: string) => boolean {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return isOfTheConnection;
  const named = new Set(connection.split(',').map((name) => name.trim().toLowerCase()));
  return (name) => OF_THE_CONNECTION.has(name) || named.has(name);
}

const isOfTheConnection = (name: string) => OF_THE_CONNECTION.has(name);
