import type { ArtifactRef } from '@pilum/core/schemas/refs.ts';
/**
 * Returns the prefix of a function's cookies on a shared origin. Only the name tells them apart from cookies of other functions or of
 * the host. Ids of artifacts contain no dot, so prefixes never overlap.
 */
export const cookiePrefix = ({ namespace, artifactId }: ArtifactRef) => `pilum.${namespace}.${artifactId}.`;

/**
 * Returns the cookies that the function has set itself, without their prefix.
 * @param cookie value of the header: `name=value; name=value …`
 * @param prefix the prefix of the function; empty on an origin of its own, where all cookies belong to it
 * @returns undefined if there is none
 */
export function ownCookies(cookie: string, prefix: string): string | undefined {
  if (prefix === '') return cookie;
  const own = cookie
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(prefix))
    .map((pair) => pair.slice(prefix.length))
    // A cookie without a name is sent as its value alone.
    .map((pair) => (pair.startsWith('=') ? pair.slice(1) : pair));
  return own.length === 0 ? undefined : own.join('; ');
}

/** Adds the prefix to a cookie that a function sets, `name=value`. */
export function carriedCookie(pair: string, prefix: string): string {
  if (prefix === '') return pair;
  const own = pair.trim();
  return prefix + (own.includes('=') ? own.replace(/\s*=\s*/, '=') : `=${own}`);
}
