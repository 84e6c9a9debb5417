import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { KeySource } from '@pilum/core/secrets/key-source.ts';
import type { OpenedSecret, SecretStore } from '@pilum/core/secrets/secret-store.ts';
import { InstanceSecrets } from '../runtimes/contract/instance-secrets.ts';

/** Tells whether a version has secrets. */
export function wantsSecrets({ spec }: Pick<Version, 'spec'>): boolean {
  return spec.secrets !== undefined && Object.keys(spec.secrets).length > 0;
}

/** Reads and decrypts what instances are started with. */
export class SecretReader {
  readonly #store: SecretStore;
  readonly #keys: KeySource;

  constructor(store: SecretStore, keys: KeySource) {
    this.#store = store;
    this.#keys = keys;
  }

  /** The names of the keys that this worker has. */
  get keyIds(): readonly string[] {
    return this.#keys.current()?.ids ?? [];
  }

  /**
   * Reads the secrets of a version as they are now; null where it has none.
   * @throws ArtifactError `SECRET_NOT_FOUND`; RuntimeError `SECRETS_UNAVAILABLE`
   */
  async read(namespace: string, version: Version): Promise<InstanceSecrets | null> {
    const { secrets } = version.spec;
    if (secrets === undefined || !wantsSecrets(version)) return null;
    const keys = this.#keys.require();
    const names = [...new Set(Object.values(secrets).map(({ name }) => name))];
    const found = await Promise.all(
      names.map(async (name) => [name, await this.#store.open(namespace, name, keys)] as const),
    );
    const opened = new Map<string, OpenedSecret>(found);
    for (const [variable, { name, as }] of Object.entries(secrets)) {
      // The deployment has refused it, and the secret has changed since.
      if (as !== 'file' && opened.get(name)?.isText === false) throw noText(variable);
    }
    return new InstanceSecrets(secrets, opened);
  }
}

function noText(variable: string): RuntimeError {
  return new RuntimeError('SECRETS_UNAVAILABLE', {
    message: `The variable ${variable} cannot have the value of its secret, which is not text.`,
    hint: 'Set the secret to text, or deploy it with "as": "file".',
    details: { variable },
  });
}
