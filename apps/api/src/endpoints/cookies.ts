/**
 * Names of cookies, as browsers keep them for a function that shares its origin with others: a cookie of the host, or of
 * another function, is not told apart from its own by anything else. Names of artifacts have no dot.
 */
export const cookiePrefix = (namespace: string, artifactId: string) => `pilum.${namespace}.${artifactId}.`;

/**
 * The cookies of a request that the function has set itself, under the names that it knows.
 * @param cookie value of the header: `name=value; name=value …`
 * @param prefix empty where the origin is the function's own, and with it every cookie
 * @returns undefined where there is none
 */
export function ownCookies(cookie: string, prefix: string): string | undefined {
  if (prefix === '') return cookie;
  const own = cookie
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(prefix))
    .map((pair) => pair.slice(prefix.length))
    // Of a cookie without a name only its value is sent.
    .map((pair) => (pair.startsWith('=') ? pair.slice(1) : pair));
  return own.length === 0 ? undefined : own.join('; ');
}

/** A cookie of a function, `name=value`, under the name by which it comes back. */
export function carriedCookie(pair: string, prefix: string): string {
  if (prefix === '') return pair;
  const own = pair.trim();
  return prefix + (own.includes('=') ? own.replace(/\s*=\s*/, '=') : `=${own}`);
}
