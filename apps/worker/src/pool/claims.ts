import type { Version } from '@pilum/core/schemas/artifact.ts';

interface Claim {
  readonly key: string;
  readonly version: Version;
  readonly tasks: number;
}

/** The tasks that a worker has taken, by who took them: some have no instance yet. */
export class Claims {
  readonly #byOwner = new Map<object, Claim>();

  /** Says how many tasks of a version `owner` has at the moment; returns whether they are fewer than before, or others. */
  set(owner: object, claim: Claim): boolean {
    const before = this.#byOwner.get(owner);
    if (claim.tasks === 0) this.#byOwner.delete(owner);
    else this.#byOwner.set(owner, claim);
    return before !== undefined && (before.tasks > claim.tasks || before.key !== claim.key);
  }

  /** Tasks and version, by the key of the version. */
  byKey(): Map<string, { version: Version; tasks: number }> {
    const found = new Map<string, { version: Version; tasks: number }>();
    for (const { key, version, tasks } of this.#byOwner.values()) {
      found.set(key, { version, tasks: tasks + (found.get(key)?.tasks ?? 0) });
    }
    return found;
  }
}
