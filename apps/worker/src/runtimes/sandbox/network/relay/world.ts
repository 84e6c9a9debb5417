import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { BlockList, isIPv6 } from 'node:net';
import type { AllowedTarget } from '@pilum/core/spec/networks.ts';
import { readOwnAddresses } from './own-addresses.ts';
import type { RelaySettings } from './wire.ts';

/** The addresses that are not public: RFC 6890 and its registries, and the one public address at which a cloud has its metadata. */
const SPECIAL = {
  ipv4: [
    '0.0.0.0/8',
    '10.0.0.0/8',
    '100.64.0.0/10',
    '127.0.0.0/8',
    '168.63.129.16/32',
    '169.254.0.0/16',
    '172.16.0.0/12',
    '192.0.0.0/24',
    '192.0.2.0/24',
    '192.88.99.0/24',
    '192.168.0.0/16',
    '198.18.0.0/15',
    '198.51.100.0/24',
    '203.0.113.0/24',
    '224.0.0.0/4',
    '240.0.0.0/4',
  ],
  ipv6: [
    '::/96',
    '::ffff:0:0/96',
    '64:ff9b::/96',
    '64:ff9b:1::/48',
    '100::/64',
    '2001::/23',
    '2001:db8::/32',
    '2002::/16',
    '3fff::/20',
    '5f00::/16',
    'fc00::/7',
    'fe80::/10',
    'fec0::/10',
    'ff00::/8',
  ],
} as const;
/** The addresses that stand for no single machine, or for whichever one asks. */
const NOBODY = { ipv4: ['0.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4'], ipv6: ['::/128', '::ffff:0:0/96', 'ff00::/8'] };

/** For so long it is not looked again, ms: which addresses this machine has, and which way there is to one. */
const INTERFACES_MS = 5000;
const ROUTES_MS = 10_000;
/** Between two looks at where Pilum's own servers are, ms. */
const GUARDED_MS = 30_000;
const MOST_ROUTES = 4096;

/** Judges addresses by what this machine is and by what its operator has said, whatever a version names. */
export class World {
  readonly #special = listsOf(SPECIAL);
  readonly #nobody = listsOf(NOBODY);
  readonly #denied: BlockList;
  readonly #guarded: RelaySettings['guarded'];
  #guardedAt: ReadonlyMap<number, ReadonlySet<string>> = new Map();
  #own: ReadonlySet<string> = new Set();
  #ownUntilMs = 0;
  readonly #routes = new Map<string, { readonly isThere: Promise<boolean>; readonly untilMs: number }>();

  constructor({ denied, guarded }: Pick<RelaySettings, 'denied' | 'guarded'>) {
    this.#denied = new BlockList();
    for (const target of denied) addTarget(this.#denied, target);
    this.#guarded = guarded;
  }

  /** Looks where Pilum's own servers are, now and again and again. */
  async open(): Promise<void> {
    await this.#lookForGuarded();
    setInterval(() => void this.#lookForGuarded(), GUARDED_MS).unref();
  }

  /** Tells whether an address is one of the open network, and no address of this machine. */
  isPublic(address: string): boolean {
    const family = familyOf(address);
    return !this.#special[family].check(address, family) && !this.isOwn(address);
  }

  /** Tells whether an address is this machine's. */
  isOwn(address: string): boolean {
    return isLoopback(address) || this.#ownAddresses().has(normal(address));
  }

  /** Returns the reason why nothing at an address is reached, whatever a version names; null where there is none. */
  whyNever(address: string, port: number): string | null {
    const family = familyOf(address);
    if (this.#nobody[family].check(address, family)) return 'the address of no single machine';
    if (this.#denied.check(address, family)) return 'closed by PILUM_NETWORK_DENY';
    const guarded = this.#guardedAt.get(port);
    if (guarded === undefined) return null;
    const isAtHome = this.isOwn(address) && [...guarded].some((there) => this.isOwn(there));
    return isAtHome || guarded.has(normal(address)) ? "Pilum's own" : null;
  }

  /** Tells whether this machine has a way to an address. There is none to IPv6 on many. */
  async hasRoute(address: string): Promise<boolean> {
    const nowMs = performance.now();
    const known = this.#routes.get(address);
    if (known !== undefined && known.untilMs > nowMs) return await known.isThere;
    if (this.#routes.size >= MOST_ROUTES) this.#routes.clear();
    const isThere = findRoute(address);
    this.#routes.set(address, { isThere, untilMs: nowMs + ROUTES_MS });
    return await isThere;
  }

  #ownAddresses(): ReadonlySet<string> {
    const nowMs = performance.now();
    if (nowMs >= this.#ownUntilMs) {
      this.#own = new Set(readOwnAddresses().map(normal));
      this.#ownUntilMs = nowMs + INTERFACES_MS;
    }
    return this.#own;
  }

  async #lookForGuarded(): Promise<void> {
    const found = new Map<number, Set<string>>();
    for (const { host, port } of this.#guarded) {
      const addresses = await lookup(host, { all: true }).catch(() => []);
      const known = found.get(port) ?? new Set(this.#guardedAt.get(port));
      for (const { address } of addresses) known.add(normal(address));
      found.set(port, known);
    }
    this.#guardedAt = found;
  }
}

/** Makes a list of the addresses that a version names, with their ports. */
export function addTarget(list: BlockList, target: AllowedTarget): void {
  if (target.kind === 'addresses') list.addSubnet(target.address, target.prefix, target.family);
}

export const familyOf = (address: string): 'ipv4' | 'ipv6' => (isIPv6(address) ? 'ipv6' : 'ipv4');

const isLoopback = (address: string) => address.startsWith('127.') || normal(address) === '::1';

/** The one way in which an address is written. */
export function normal(address: string): string {
  if (!isIPv6(address)) return address;
  const [bare = address] = address.split('%');
  return new URL(`http://[${bare}]/`).hostname.slice(1, -1);
}

type Lists = Readonly<Record<'ipv4' | 'ipv6', BlockList>>;

/** Makes a list for each family: in one for both, IPv4 addresses are in the network of those that IPv6 writes for them. */
function listsOf(networks: Readonly<Record<'ipv4' | 'ipv6', readonly string[]>>): Lists {
  return { ipv4: listOf('ipv4', networks.ipv4), ipv6: listOf('ipv6', networks.ipv6) };
}

function listOf(family: 'ipv4' | 'ipv6', networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    list.addSubnet(address, Number(prefix), family);
  }
  return list;
}

/** Asks the kernel, which sends nothing for this. */
function findRoute(address: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createSocket(familyOf(address) === 'ipv6' ? 'udp6' : 'udp4');
  const end = (isThere: boolean) => {
    resolve(isThere);
    socket.close();
  };
  socket.once('error', () => end(false));
  socket.connect(9, address, () => end(true));
  return promise;
}
