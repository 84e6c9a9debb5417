import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIPv4, isIPv6 } from 'node:net';
import packets, { type Answer, type DecodedPacket, type Question } from 'dns-packet';
import type { Policy } from './policy.ts';
import { normal, type World } from './world.ts';

/** The time that a server has to answer, ms, and how often it is asked. */
const TIMEOUT_MS = 2000;
const TRIES = 2;
/** The most that a program is told to keep an address for, s: an address that it was told is open for longer. */
const LONGEST_TTL_S = 60;
/** Time to live of names in /etc/hosts, s, which says none. */
const HOSTS_TTL_S = 30;
const HOSTS_FILE = '/etc/hosts';
const HOSTS_MS = 5000;
/** Addresses of one answer at most: more would not fit into a datagram. */
const MOST_ADDRESSES = 16;
const MOST_RECORDS = 8;
/** Bytes of an answer over UDP. */
const MOST_BYTES = 1232;
/** Names that may be asked for at once, of all instances. */
const MOST_PENDING = 512;
/** Lengths of a name as resolvers take it; labels such as _mongodb have underscores. */
const NAME = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

const RCODES = { none: 0, malformed: 1, failed: 2, noSuchName: 3, notBuilt: 4 } as const;
const TRUNCATED = packets.TRUNCATED_RESPONSE;

interface Found {
  readonly address: string;
  readonly ttl: number;
}

/** Answers questions for names: those that an instance may reach, and of them only addresses that it may reach. */
export class Names {
  readonly #world: World;
  readonly #resolver: Resolver;
  #hosts: ReadonlyMap<string, readonly string[]> = new Map();
  #hostsUntilMs = 0;
  #pending = 0;

  /** @param servers to ask, `address` or `address:port`; empty for those of this machine */
  constructor(world: World, servers: readonly string[]) {
    this.#world = world;
    this.#resolver = new Resolver({ timeout: TIMEOUT_MS, tries: TRIES });
    if (servers.length > 0) this.#resolver.setServers(servers);
  }

  /**
   * Answers one question.
   * @param refuse is told of what is closed
   * @returns the answer; null for what is no question
   */
  async answer(message: Buffer, policy: Policy, refuse: (what: string) => void): Promise<Buffer | null> {
    let query: DecodedPacket;
    try {
      query = packets.decode(message);
    } catch {
      return null;
    }
    if (query.type !== 'query') return null;
    const [question, ...more] = query.questions ?? [];
    if (question === undefined || more.length > 0) return reply(query, [], RCODES.malformed);
    if (opcodeOf(query) !== 0) return reply(query, [], RCODES.notBuilt);
    if (this.#pending >= MOST_PENDING) return reply(query, [], RCODES.failed);
    this.#pending++;
    try {
      return await this.#find(query, question, policy, refuse);
    } catch (error) {
      return reply(query, [], isMissing(error) ? RCODES.noSuchName : RCODES.failed);
    } finally {
      this.#pending--;
    }
  }

  async #find(
    query: DecodedPacket,
    { name: asked, type }: Question,
    policy: Policy,
    refuse: (what: string) => void,
  ): Promise<Buffer> {
    const name = asked.toLowerCase().replace(/\.$/, '');
    const ports = NAME.test(name) ? policy.portsOf(name) : undefined;
    if (ports === undefined) {
      refuse(printable(name));
      return reply(query, [], RCODES.noSuchName);
    }
    if (type === 'A' || type === 'AAAA') {
      const found = await this.#addresses(name, type);
      const open = found.filter(({ address }) => policy.mayBe(address)).slice(0, MOST_ADDRESSES);
      for (const { address } of found) if (!policy.mayBe(address)) refuse(`${printable(name)} (${address})`);
      const ttl = Math.min(LONGEST_TTL_S, ...open.map((record) => record.ttl));
      policy.open(
        open.map(({ address }) => address),
        ports,
        Math.max(0, ...open.map((record) => record.ttl)),
      );
      return reply(
        query,
        open.map(({ address }) => ({ type, name: asked, ttl, data: address })),
        RCODES.none,
      );
    }
    if (type === 'SRV') {
      const records = (await this.#resolver.resolveSrv(name)).slice(0, MOST_RECORDS);
      return reply(
        query,
        records.map(({ name: target, port, priority, weight }) => ({
          type,
          name: asked,
          ttl: HOSTS_TTL_S,
          data: { target, port, priority, weight },
        })),
        RCODES.none,
      );
    }
    if (type === 'TXT') {
      const records = (await this.#resolver.resolveTxt(name)).slice(0, MOST_RECORDS);
      return reply(
        query,
        records.map((data) => ({ type, name: asked, ttl: HOSTS_TTL_S, data })),
        RCODES.none,
      );
    }
    return reply(query, [], RCODES.none);
  }

  /** Asks /etc/hosts, and then a server. IPv6 addresses that this machine has no way to are left out. */
  async #addresses(name: string, type: 'A' | 'AAAA'): Promise<Found[]> {
    const isOfType = type === 'A' ? isIPv4 : isIPv6;
    const known = (await this.#readHosts()).get(name);
    const found =
      known === undefined
        ? type === 'A'
          ? await this.#resolver.resolve4(name, { ttl: true })
          : await this.#resolver.resolve6(name, { ttl: true })
        : known.filter(isOfType).map((address) => ({ address, ttl: HOSTS_TTL_S }));
    if (type === 'A') return found;
    const isThere = await Promise.all(found.map(({ address }) => this.#world.hasRoute(address)));
    return found.filter((_, index) => isThere[index]).map(({ address, ttl }) => ({ address: normal(address), ttl }));
  }

  async #readHosts(): Promise<ReadonlyMap<string, readonly string[]>> {
    if (performance.now() < this.#hostsUntilMs) return this.#hosts;
    this.#hostsUntilMs = performance.now() + HOSTS_MS;
    const text = await readFile(HOSTS_FILE, 'utf8').catch(() => '');
    const hosts = new Map<string, string[]>();
    for (const line of text.split('\n')) {
      const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
      for (const name of names) hosts.set(name.toLowerCase(), [...(hosts.get(name.toLowerCase()) ?? []), address]);
    }
    this.#hosts = hosts;
    return hosts;
  }
}

/** A text that one may print: it is the function's. */
export const printable = (text: string) => text.slice(0, 253).replace(/[^ -~]/g, '?');

const opcodeOf = ({ flags = 0 }: DecodedPacket) => (flags >> 11) & 0xf;

function reply({ id, questions, flags = 0 }: DecodedPacket, answers: Answer[], rcode: number): Buffer {
  const wanted = flags & packets.RECURSION_DESIRED;
  const about = { type: 'response', id, questions, flags: wanted | packets.RECURSION_AVAILABLE | rcode } as const;
  const whole = packets.encode({ ...about, answers });
  if (whole.length <= MOST_BYTES) return whole;
  return packets.encode({ ...about, flags: about.flags | TRUNCATED });
}

/** Tells whether a server has said that there is no such name, or no such record of it. */
function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTFOUND' || code === 'ENODATA' || code === 'ENONAME';
}
