import { readFileSync, statSync } from 'node:fs';
import { ConfigurationError, RuntimeError } from '../errors/pilum-error.ts';
import { SecretKeys } from './secret-keys.ts';

/** The largest file of keys, bytes. */
const MAX_FILE_BYTES = 64 * 1024;

export interface KeySettings {
  readonly SECRETS_KEY?: string | undefined;
  readonly SECRETS_KEY_FILE?: string | undefined;
}

/** The source from which a process has the operator's keys. A file is read again when it has changed, so that a rotation restarts nothing. */
export class KeySource {
  readonly #path: string | null;
  readonly #onError: (error: unknown) => void;
  #keys: SecretKeys | null;
  /** Mark that tells a file from a changed one. */
  #seen: string;

  private constructor(path: string | null, keys: SecretKeys | null, seen: string, onError: (error: unknown) => void) {
    this.#path = path;
    this.#keys = keys;
    this.#seen = seen;
    this.#onError = onError;
  }

  /**
   * Reads the keys that the configuration names.
   * @param onError hears that a file which has changed could not be read; what was read before goes on to count
   * @throws ConfigurationError `CONFIGURATION_INVALID` where they cannot be read, or both ways are taken
   */
  static open({ SECRETS_KEY, SECRETS_KEY_FILE }: KeySettings, onError: (error: unknown) => void): KeySource {
    if (SECRETS_KEY !== undefined && SECRETS_KEY_FILE !== undefined) {
      throw new ConfigurationError('CONFIGURATION_INVALID', {
        message: 'PILUM_SECRETS_KEY and PILUM_SECRETS_KEY_FILE are two places of the same keys: set one of them.',
      });
    }
    if (SECRETS_KEY !== undefined) {
      return new KeySource(null, SecretKeys.parse(SECRETS_KEY, 'PILUM_SECRETS_KEY'), '', onError);
    }
    if (SECRETS_KEY_FILE === undefined) return new KeySource(null, null, '', onError);
    const { keys, seen } = readKeyFile(SECRETS_KEY_FILE);
    return new KeySource(SECRETS_KEY_FILE, keys, seen, onError);
  }

  /** The keys as they are now; null where the operator has given none. */
  current(): SecretKeys | null {
    if (this.#path === null) return this.#keys;
    try {
      if (sightOf(this.#path) === this.#seen) return this.#keys;
      const { keys, seen } = readKeyFile(this.#path);
      this.#keys = keys;
      this.#seen = seen;
    } catch (error) {
      this.#onError(error);
    }
    return this.#keys;
  }

  /** The keys. @throws RuntimeError `SECRETS_UNAVAILABLE` where there are none */
  require(): SecretKeys {
    const keys = this.current();
    if (keys !== null) return keys;
    throw new RuntimeError('SECRETS_UNAVAILABLE', { message: 'This process has no key for secrets.' });
  }
}

function readKeyFile(path: string): { keys: SecretKeys; seen: string } {
  try {
    const seen = sightOf(path);
    if (statSync(path).size > MAX_FILE_BYTES) throw new Error('it is too large for keys');
    return { keys: SecretKeys.parse(readFileSync(path, 'utf8'), `${path} (PILUM_SECRETS_KEY_FILE)`), seen };
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    throw new ConfigurationError('CONFIGURATION_INVALID', {
      message: `PILUM_SECRETS_KEY_FILE could not be read: ${(error as Error).message}.`,
      cause: error,
    });
  }
}

function sightOf(path: string): string {
  const { ino, size, mtimeMs } = statSync(path);
  return `${ino} ${size} ${mtimeMs}`;
}
