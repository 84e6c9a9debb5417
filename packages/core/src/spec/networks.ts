/** Values of `limits.network`: none, all that is public, the names and addresses of a list, or the network of the host. */
export type Network = 'none' | 'egress' | 'host' | { readonly allow: readonly string[] };

/** Entries that the list of one version may have. */
export const MAX_ALLOWED = 64;
/** Characters of one entry at most: a name of 253 with `*.` and a port. */
export const MAX_ALLOWED_LENGTH = 262;

/** One entry of a list: a name, or addresses, and the port that is open there; null for every port. */
export type AllowedTarget =
  | { readonly kind: 'name'; readonly name: string; readonly isWildcard: boolean; readonly port: number | null }
  | {
      readonly kind: 'addresses';
      readonly address: string;
      readonly prefix: number;
      readonly family: 'ipv4' | 'ipv6';
      readonly port: number | null;
    };

/** Tells whether a network is one that Pilum relays: its names are resolved by us, and everything else is closed. */
export function isRelayed(network: Network): network is 'egress' | { readonly allow: readonly string[] } {
  return network === 'egress' || typeof network === 'object';
}

/** The shortest prefixes that an entry may have: a network that holds everything names nothing. */
const SHORTEST_PREFIX = { ipv4: 8, ipv6: 16 } as const;
const BITS = { ipv4: 32, ipv6: 128 } as const;

/**
 * Reads one entry of a list: `api.example.com`, `*.example.com:443`, `10.1.2.3:5432`, `10.1.0.0/16`, `[fd00::1]:5432`,
 * `fd00::/64`. Names come back in the form that resolvers take (punycode, lower case).
 * @throws Error that says what is wrong with it
 */
export function parseAllowed(entry: string): AllowedTarget {
  const { host, port } = splitPort(entry);
  const slash = host.indexOf('/');
  const address = slash < 0 ? host : host.slice(0, slash);
  const family = familyOf(address);
  if (family !== null) return addressesOf(address, slash < 0 ? null : host.slice(slash + 1), family, port);
  if (slash >= 0) throw new Error('a prefix needs an address before it, such as 10.1.0.0/16');
  return nameOf(host, port);
}

function splitPort(entry: string): { host: string; port: number | null } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(entry);
  if (bracketed !== null) {
    const [, host = '', port] = bracketed;
    if (familyOf(host.split('/')[0] ?? '') !== 'ipv6') throw new Error('brackets are for IPv6 addresses');
    return { host, port: port === undefined ? null : portOf(port) };
  }
  const colon = entry.indexOf(':');
  // More than one colon is an IPv6 address without a port.
  if (colon < 0 || entry.includes(':', colon + 1)) return { host: entry, port: null };
  return { host: entry.slice(0, colon), port: portOf(entry.slice(colon + 1)) };
}

function portOf(text: string): number {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) throw new Error('a port is a number from 1 to 65535');
  return port;
}

function addressesOf(
  address: string,
  prefixText: string | null,
  family: 'ipv4' | 'ipv6',
  port: number | null,
): AllowedTarget {
  const prefix = prefixText === null ? BITS[family] : /^\d{1,3}$/.test(prefixText) ? Number(prefixText) : Number.NaN;
  if (!(prefix >= SHORTEST_PREFIX[family] && prefix <= BITS[family])) {
    throw new Error(`a prefix of such an address is a number from ${SHORTEST_PREFIX[family]} to ${BITS[family]}`);
  }
  return { kind: 'addresses', address, prefix, family, port };
}

function nameOf(host: string, port: number | null): AllowedTarget {
  const isWildcard = host.startsWith('*.');
  const rest = isWildcard ? host.slice(2) : host;
  if (rest.includes('*')) throw new Error('* stands for whole labels at the left, as in *.example.com');
  if (/[/?#@\s%\\]/.test(rest)) throw new Error('it is a name or an address, and no URL');
  // The same reading of international names as in URLs (UTS 46).
  const name = URL.parse(`http://${rest}/`)?.hostname ?? '';
  const labels = name.split('.');
  const isName = name.length <= 253 && labels.every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
  if (!isName || familyOf(name) !== null) throw new Error('it is neither a name nor an address');
  if (isWildcard && labels.length < 2) throw new Error('a wildcard needs two labels after it, as in *.example.com');
  return { kind: 'name', name, isWildcard, port };
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$/;

/** The family of an address; null for what is none. An IPv6 address with a zone, or with an IPv4 address in it, is none here. */
function familyOf(text: string): 'ipv4' | 'ipv6' | null {
  if (IPV4.test(text)) return 'ipv4';
  if (!/^[0-9a-fA-F:]{2,39}$/.test(text) || !text.includes(':')) return null;
  return URL.canParse(`http://[${text}]/`) ? 'ipv6' : null;
}
