import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';

/**
 * Reads the addresses of this machine, those of interfaces among them that are down or have nobody at the other end: the kernel delivers to
 * them all the same, and Node does not list them.
 */
export function readOwnAddresses(): string[] {
  const listed = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return [
    ...listed.map(({ address }) => address),
    ...localInRoutes(read('fib_trie')),
    ...inInterfaces(read('if_inet6')),
  ];
}

/** Returns the IPv4 addresses that the kernel's routes take for this machine's own (Documentation/networking/fib_trie.rst). */
export function localInRoutes(trie: string): string[] {
  return [...trie.matchAll(/\|-- ([0-9.]+)\n +\/32 host LOCAL/g)].map(([, address = '']) => address);
}

/** Returns the IPv6 addresses in a table of the kernel that has one a line, in 32 hexadecimal digits. */
export function inInterfaces(table: string): string[] {
  return [...table.matchAll(/^([0-9a-f]{32}) /gm)].map(([, digits = '']) => digits.replace(/(.{4})(?=.)/g, '$1:'));
}

/** Reads a table of the network that this process is in; empty where the machine has none, such as without IPv6. */
function read(table: string): string {
  try {
    return readFileSync(`/proc/net/${table}`, 'utf8');
  } catch {
    return '';
  }
}
