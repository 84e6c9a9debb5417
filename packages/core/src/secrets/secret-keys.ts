import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { ConfigurationError, RuntimeError } from '../errors/pilum-error.ts';

const KEY_BYTES = 32;
const KEY_ID_BYTES = 8;
/** The bytes of a nonce and of a tag, as GCM wants them. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** The form of a box, so that another one can be told from it. */
const FORM = '1';
/** Keys that a process may have at most. */
const MAX_KEYS = 16;

/** The place of a value: it opens in no other one. */
export interface SecretPlace {
  readonly namespace: string;
  readonly name: string;
  readonly version: number;
}

interface Key {
  readonly id: string;
  readonly secret: Buffer;
}

/**
 * The operator's keys: the first encrypts, all decrypt. An encrypted value is a box, `1.<key id>.<nonce>.<tag and bytes>`, AES-256-GCM with its place
 * as additional data.
 */
export class SecretKeys {
  readonly #keys: readonly Key[];

  private constructor(keys: readonly Key[]) {
    this.#keys = keys;
  }

  /**
   * Reads keys from text: 32 bytes each, as base64 or hex, separated by commas or white space; `#` begins a comment.
   * @param source names the text in errors, which never show it
   * @throws ConfigurationError `CONFIGURATION_INVALID`
   */
  static parse(text: string, source: string): SecretKeys {
    const words = text
      .replace(/#.*$/gm, '')
      .split(/[\s,]+/)
      .filter((word) => word !== '');
    if (words.length === 0) throw badKeys(source, 'has no key');
    if (words.length > MAX_KEYS) throw badKeys(source, `has ${words.length} keys, and may have ${MAX_KEYS}`);
    const keys = words.map((word, i) => {
      const bytes = keyBytes(word);
      if (bytes === null) throw badKeys(source, `has a key (number ${i + 1}) that is not 32 bytes as base64 or hex`);
      return keyOf(bytes);
    });
    return new SecretKeys(keys);
  }

  /** Makes the text of a new key. */
  static generate(): string {
    return randomBytes(KEY_BYTES).toString('base64');
  }

  /** The names of all keys, the first one first. They say nothing of the keys themselves. */
  get ids(): readonly string[] {
    return this.#keys.map(({ id }) => id);
  }

  /** The name of the key that encrypts. */
  get firstId(): string {
    return this.#first.id;
  }

  /** Tells whether it can open what a key of this name has encrypted. */
  has(keyId: string): boolean {
    return this.#keys.some(({ id }) => id === keyId);
  }

  /** Encrypts a value for its place. */
  seal(place: SecretPlace, value: Buffer): string {
    const { id, secret } = this.#first;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', secret, nonce).setAAD(placeBytes(place));
    const sealed = Buffer.concat([cipher.update(value), cipher.final()]);
    const body = Buffer.concat([cipher.getAuthTag(), sealed]);
    return [FORM, id, nonce.toString('base64url'), body.toString('base64url')].join('.');
  }

  /**
   * Decrypts the box of a place.
   * @throws RuntimeError `SECRETS_UNAVAILABLE` where its key is not among these, or it is not what was put there
   */
  open(place: SecretPlace, box: string): Buffer {
    const [form, id = '', nonce = '', body = ''] = box.split('.');
    const key = this.#keys.find((candidate) => candidate.id === id);
    if (form !== FORM || key === undefined) throw keyMissing(place, id, this.ids);
    try {
      const bytes = Buffer.from(body, 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', key.secret, Buffer.from(nonce, 'base64url'), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(placeBytes(place)).setAuthTag(bytes.subarray(0, TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(TAG_BYTES)), decipher.final()]);
    } catch {
      throw new RuntimeError('SECRETS_UNAVAILABLE', {
        message: `The secret ${place.name} does not open with its key ${id}: what Redis has of it is damaged, or another's.`,
        hint: 'Set it again with PUT /v1/secrets/{name}.',
        details: { secret: place.name, keyId: id },
      });
    }
  }

  get #first(): Key {
    return this.#keys[0]!;
  }
}

/** Makes the error of a secret whose key this process does not have. */
export function keyMissing({ name }: { readonly name: string }, keyId: string, ids: readonly string[]): RuntimeError {
  const has = ids.length === 0 ? 'no key for secrets' : `the keys ${ids.join(', ')}`;
  return new RuntimeError('SECRETS_UNAVAILABLE', {
    message: `The secret ${name} was encrypted with the key ${keyId}, and this process has ${has}.`,
    details: { secret: name, keyId, keys: [...ids] },
  });
}

function keyBytes(word: string): Buffer | null {
  if (/^[0-9a-f]{64}$/i.test(word)) return Buffer.from(word, 'hex');
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(word)) return null;
  const bytes = Buffer.from(word.replaceAll('-', '+').replaceAll('_', '/'), 'base64');
  return bytes.length === KEY_BYTES ? bytes : null;
}

/** Derives what encrypts and what names a key from it, each for its own use. */
function keyOf(bytes: Buffer): Key {
  const derived = (use: string, length: number) => Buffer.from(hkdfSync('sha256', bytes, '', `pilum ${use}`, length));
  return { id: derived('secret key id', KEY_ID_BYTES).toString('hex'), secret: derived('secrets', KEY_BYTES) };
}

const placeBytes = ({ namespace, name, version }: SecretPlace) =>
  Buffer.from(JSON.stringify(['pilum secret', namespace, name, version]));

const badKeys = (source: string, what: string) =>
  new ConfigurationError('CONFIGURATION_INVALID', {
    message: `${source} ${what}: make one with npm run secrets -- new-key.`,
  });
