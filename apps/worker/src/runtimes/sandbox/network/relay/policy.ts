import { BlockList } from 'node:net';
import type { NetworkRules } from './wire.ts';
import { addTarget, familyOf, normal, type World } from './world.ts';

/** An address that a name was answered with stays open for so long at least, and at most, s, whatever its record says. */
const SHORTEST_OPEN_S = 300;
const LONGEST_OPEN_S = 3600;
/** Addresses that one instance has open at once; the oldest are closed. */
const MOST_OPEN = 4096;

/** The ports of a name or an address; null for all. */
type Ports = ReadonlySet<number> | null;

interface OpenAddress {
  readonly ports: Ports;
  readonly untilMs: number;
  /** The other addresses of the same answer. */
  readonly others: readonly string[];
}

/** The verdict on one connection. */
export type Verdict =
  | { readonly isOpen: true; readonly others: readonly string[] }
  | { readonly isOpen: false; readonly why: string };

/** The rules of one instance, and the addresses that are open to it for the names that it has asked for. */
export class Policy {
  readonly #rules: NetworkRules;
  readonly #world: World;
  /** The addresses of the list, by port; 0 for all ports. */
  readonly #named = new Map<number, BlockList>();
  readonly #open = new Map<string, OpenAddress>();

  constructor(rules: NetworkRules, world: World) {
    this.#rules = rules;
    this.#world = world;
    for (const target of rules.targets) {
      if (target.kind === 'name') continue;
      const key = target.port ?? 0;
      const list = this.#named.get(key) ?? new BlockList();
      addTarget(list, target);
      this.#named.set(key, list);
    }
  }

  /** Returns the ports that are open at a name; undefined where the name is closed. */
  portsOf(name: string): Ports | undefined {
    if (this.#rules.isPublicOpen) return null;
    const found = this.#rules.targets.filter((target) => target.kind === 'name' && matches(name, target));
    if (found.length === 0) return undefined;
    const ports = found.map(({ port }) => port).filter((port) => port !== null);
    return ports.length < found.length ? null : new Set(ports);
  }

  /** Tells whether a name may have this address: one that is not public has to be named itself. */
  mayBe(address: string): boolean {
    return this.#world.isPublic(address) || [...this.#named.values()].some((list) => isIn(list, address));
  }

  /** Opens the addresses that a name was answered with. @param ttlS of the record, s */
  open(addresses: readonly string[], ports: Ports, ttlS: number): void {
    const nowMs = performance.now();
    const untilMs = nowMs + 1000 * Math.min(LONGEST_OPEN_S, Math.max(SHORTEST_OPEN_S, ttlS));
    for (const address of addresses.map(normal)) {
      const before = this.#open.get(address);
      const isStillOpen = before !== undefined && before.untilMs > nowMs;
      const both = isStillOpen ? union(before.ports, ports) : ports;
      this.#open.delete(address);
      this.#open.set(address, { ports: both, untilMs, others: addresses.filter((other) => other !== address) });
    }
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= MOST_OPEN) break;
      this.#open.delete(oldest);
    }
  }

  /** Judges a connection to an address and port. */
  admit(address: string, port: number): Verdict {
    const why = this.#world.whyNever(address, port);
    if (why !== null) return { isOpen: false, why };
    const isNamed = [0, port].some((key) => {
      const list = this.#named.get(key);
      return list !== undefined && isIn(list, address);
    });
    if (isNamed) return { isOpen: true, others: [] };
    const open = this.#open.get(normal(address));
    if (open !== undefined && open.untilMs > performance.now() && (open.ports?.has(port) ?? true)) {
      // Where it is not public, its address is named for another port.
      if (this.#world.isPublic(address)) return { isOpen: true, others: open.others };
    }
    if (this.#rules.isPublicOpen && this.#world.isPublic(address)) return { isOpen: true, others: [] };
    return { isOpen: false, why: 'not in limits.network' };
  }
}

const isIn = (list: BlockList, address: string) => list.check(address, familyOf(address));

function matches(name: string, target: { readonly name: string; readonly isWildcard: boolean }): boolean {
  return target.isWildcard ? name.endsWith(`.${target.name}`) : name === target.name;
}

function union(some: Ports, others: Ports): Ports {
  return some === null || others === null ? null : new Set([...some, ...others]);
}
