import { createHash, timingSafeEqual } from 'node:crypto';

/** The API key of an installation, kept as its digest. */
export class ApiKey {
  readonly #digest: Buffer;

  constructor(key: string) {
    this.#digest = digestOf(key);
  }

  /** Compares in constant time, so that timing reveals nothing about the key. */
  matches(presented: string): boolean {
    return timingSafeEqual(this.#digest, digestOf(presented));
  }
}

const digestOf = (key: string) => createHash('sha256').update(key).digest();

/** Returns the key in an `Authorization` header: `Bearer <key>`, or the password of `Basic`, as browsers send it. */
export function presentedKey(authorization: string | undefined): string | null {
  const [, scheme, credentials] = /^(bearer|basic) +(\S+) *$/i.exec(authorization ?? '') ?? [];
  if (scheme === undefined || credentials === undefined) return null;
  if (scheme.toLowerCase() === 'bearer') return credentials;
  const decoded = Buffer.from(credentials, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  return colon < 0 ? null : decoded.slice(colon + 1);
}
