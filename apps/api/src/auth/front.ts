import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** The address by which a caller has reached this process, as the caller sees it. */
export interface Seen {
  readonly protocol: 'http' | 'https';
  /** `host` or `host:port`; undefined if the request names none. */
  readonly host: string | undefined;
  /** The path prefix that a proxy removes, such as `/pilum`; empty if there is none. */
  readonly base: string;
  /** Whether a trusted proxy has passed the request on, so that its headers about the caller are believed. */
  readonly isForwarded: boolean;
}

/** A function with a host name of its own. */
export interface OwnHost {
  readonly namespace: string;
  /** `id`, `id@3` or `id@live`. */
  readonly reference: string;
}

export interface FrontOptions {
  /** The address by which callers reach the API, if it differs from the one that the API listens on. */
  readonly publicUrl?: URL | null;
  /** Addresses of proxies whose `X-Forwarded-…` headers are believed. */
  readonly proxies?: readonly string[];
  /** Functions that have a host name of their own, by that name in lower case. */
  readonly hosts?: ReadonlyMap<string, OwnHost>;
}

/** Knows the proxies before this process and the host names by which callers reach it. */
export class Front {
  readonly publicUrl: URL | null;
  readonly #proxies: BlockList | null;
  readonly #hosts: ReadonlyMap<string, OwnHost>;

  constructor({ publicUrl = null, proxies = [], hosts = new Map() }: FrontOptions = {}) {
    this.publicUrl = publicUrl;
    this.#proxies = proxies.length === 0 ? null : blockListOf(proxies);
    this.#hosts = hosts;
  }

  seen(request: IncomingMessage): Seen {
    const { headers, socket } = request;
    const isForwarded = this.#isTrusted(socket.remoteAddress);
    // The public URL is the API's; it says nothing about the host of a function.
    const known = this.functionOf(request) === null ? this.publicUrl : null;
    const forwarded = (name: string) => (isForwarded ? lastOf(headers[name]) : undefined);
    const protocol = forwarded('x-forwarded-proto') ?? known?.protocol.slice(0, -1);
    return {
      protocol: protocol === 'https' || 'encrypted' in socket ? 'https' : 'http',
      host: forwarded('x-forwarded-host') ?? known?.host ?? headers.host,
      base: baseOf(forwarded('x-forwarded-prefix') ?? known?.pathname ?? ''),
      isForwarded,
    };
  }

  /** Returns the function that the host of a request belongs to; null for the API's own host. */
  functionOf(request: IncomingMessage): OwnHost | null {
    if (this.#hosts.size === 0) return null;
    const { headers, socket } = request;
    const forwarded = this.#isTrusted(socket.remoteAddress) ? lastOf(headers['x-forwarded-host']) : undefined;
    return this.#ownerOf(forwarded) ?? this.#ownerOf(headers.host);
  }

  #ownerOf(host: string | undefined): OwnHost | null {
    if (host === undefined) return null;
    const lower = host.toLowerCase();
    return this.#hosts.get(lower) ?? this.#hosts.get(withoutPort(lower)) ?? null;
  }

  #isTrusted(address: string | undefined): boolean {
    if (this.#proxies === null || address === undefined) return false;
    return this.#proxies.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
}

const withoutPort = (host: string) => host.replace(/\.?(?::\d+)?$/, '');

/** Returns the last entry of a header, which the nearest proxy has appended. */
function lastOf(header: string | string[] | undefined): string | undefined {
  const last = String(header ?? '')
    .split(',')
    .at(-1)
    ?.trim();
  return last === '' ? undefined : last;
}

/** Returns a path prefix without a trailing `/`; empty for anything other than a plain path. */
function baseOf(prefix: string): string {
  const base = prefix.replace(/\/+$/, '');
  return /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~!$&'()*+,;=:@-]+)*$/.test(base) ? base : '';
}

/** Networks that a list may name in one word. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  all: ['0.0.0.0/0', '::/0'],
  loopback: ['127.0.0.0/8', '::1/128'],
  private: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10'],
};

/** @throws Error that names the entry which is neither an address nor a network */
function blockListOf(proxies: readonly string[]): BlockList {
  const list = new BlockList();
  for (const named of proxies.flatMap((word) => WORDS[word] ?? [word])) {
    const [address = '', bits] = named.split('/', 2);
    const family = isIP(address);
    const most = family === 6 ? 128 : 32;
    const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : Number.NaN;
    if (family === 0 || !(prefix <= most))
      throw new Error(`${JSON.stringify(named)} is neither an address nor a network`);
    list.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** Returns the names by which only this machine itself reaches one of its ports. */
export function loopbackNames(port: number): readonly string[] {
  if (lastNames.port !== port) {
    const names = ['127.0.0.1', 'localhost', '[::1]'].flatMap((name) =>
      port === 80 ? [name, `${name}:80`] : [`${name}:${port}`],
    );
    lastNames = { port, names };
  }
  return lastNames.names;
}

/** The names for the last port asked for; a process listens on one, so one entry is enough. */
let lastNames: { readonly port: number; readonly names: readonly string[] } = { port: -1, names: [] };
