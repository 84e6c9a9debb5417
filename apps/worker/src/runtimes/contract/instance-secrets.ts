import type { SecretUses } from '@pilum/core/schemas/secret.ts';

/** A file that an instance has a secret in. */
export interface SecretFile {
  /** Its name within the directory of secrets. */
  readonly name: string;
  readonly content: Buffer;
}

/** The secrets that one instance is started with. Whatever prints or writes one of these shows versions, and no values. */
export class InstanceSecrets {
  /** The version of each secret, by its name. */
  readonly versions: Readonly<Record<string, number>>;
  readonly #values: ReadonlyMap<string, Buffer>;
  readonly #uses: SecretUses;

  /** @param opened values and versions by name, of every secret that `uses` names */
  constructor(uses: SecretUses, opened: ReadonlyMap<string, { readonly version: number; readonly value: Buffer }>) {
    this.#uses = uses;
    this.#values = new Map([...opened].map(([name, { value }]) => [name, value]));
    this.versions = Object.fromEntries([...opened].map(([name, { version }]) => [name, version]));
  }

  /** The values, by the names of their secrets. */
  get values(): ReadonlyMap<string, Buffer> {
    return this.#values;
  }

  /** The variables that hold secrets. */
  get variables(): Record<string, string> {
    const variables = Object.entries(this.#uses).filter(([, { as }]) => as !== 'file');
    return Object.fromEntries(variables.map(([variable, { name }]) => [variable, this.#text(name)]));
  }

  /** The files that hold secrets. */
  get files(): SecretFile[] {
    return Object.entries(this.#uses)
      .filter(([, { as }]) => as === 'file')
      .map(([file, { name }]) => ({ name: file, content: this.#values.get(name) ?? Buffer.alloc(0) }));
  }

  #text(name: string): string {
    return this.#values.get(name)?.toString('utf8') ?? '';
  }
}

/** Tells whether instances of a spec have secrets in files. */
export function hasSecretFiles({ secrets }: { readonly secrets?: SecretUses }): boolean {
  return secrets !== undefined && Object.values(secrets).some(({ as }) => as === 'file');
}
