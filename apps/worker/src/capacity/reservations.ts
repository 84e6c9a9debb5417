import type { Version } from '@pilum/core/schemas/artifact.ts';

interface Claim {
  readonly key: string;
  readonly version: Version;
  readonly tasks: number;
  /** Tasks that it may be handed at any time. */
  readonly offered: number;
}

/** The tasks that a worker has taken or may be handed, by whose they are: some have no instance yet. */
export class Reservations {
  readonly #byOwner = new Map<object, Claim>();

  /** Says how many tasks of a version `owner` has at the moment; returns whether they are fewer than before, or others. */
  set(owner: object, claim: Claim): boolean {
    const before = this.#byOwner.get(owner);
    if (sizeOf(claim) === 0) this.#byOwner.delete(owner);
    else this.#byOwner.set(owner, claim);
    return before !== undefined && (sizeOf(before) > sizeOf(claim) || before.key !== claim.key);
  }

  /** Processors of the tasks that may come and have not. */
  get offeredCpu(): number {
    let processors = 0;
    for (const { version, offered } of this.#byOwner.values()) processors += offered * version.spec.limits.cpu;
    return processors;
  }

  /** Tasks and version, by the key of the version. */
  byKey(): Map<string, { version: Version; tasks: number }> {
    const found = new Map<string, { version: Version; tasks: number }>();
    for (const claim of this.#byOwner.values()) {
      const { key, version } = claim;
      found.set(key, { version, tasks: sizeOf(claim) + (found.get(key)?.tasks ?? 0) });
    }
    return found;
  }
}

const sizeOf = ({ tasks, offered }: Claim) => tasks + offered;
