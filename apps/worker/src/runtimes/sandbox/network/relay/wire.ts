import type { AllowedTarget } from '@pilum/core/spec/networks.ts';

/**
 * The addresses of a relayed network. The function's own is that of no other machine, and lies on its loopback device: so
 * programs that ask whether there is a network find one. Names are asked of the relay, which also takes every connection.
 */
export const OWN_ADDRESS = { ipv4: '192.0.0.2', ipv6: 'fd70:696c:756d::2' } as const;
export const RELAY_ADDRESS = { ipv4: '192.0.0.1', ipv6: 'fd70:696c:756d::1' } as const;
/** Ports that no function can listen on, since it has no privileges in its network. */
export const RELAY_PORT = 1023;
export const NAME_PORT = 53;

/** The networks that one relay serves for a worker, and what it must not reach for any of them. */
export interface RelaySettings {
  /** Servers that names are asked of, `address` or `address:port`; empty for those of this machine. */
  readonly resolvers: readonly string[];
  /** Addresses that no function reaches, whatever its version names. */
  readonly denied: readonly AllowedTarget[];
  /** Pilum's own servers, which no function reaches. */
  readonly guarded: readonly { readonly host: string; readonly port: number }[];
}

/** The destinations that one instance may reach. */
export interface NetworkRules {
  /** Tells whether everything public is open. */
  readonly isPublicOpen: boolean;
  readonly targets: readonly AllowedTarget[];
}

/** Sums since the network was made. */
export interface NetworkUse {
  readonly connections: number;
  /** By the function, bytes. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Names and addresses that were refused, in all. */
  readonly refusals: number;
  /** The last of them, the newest at the end. */
  readonly refused: readonly string[];
}

/** Refusals that a relay remembers of one network. */
export const REMEMBERED_REFUSALS = 16;

export type ToRelay =
  | { readonly kind: 'settings'; readonly settings: RelaySettings }
  | { readonly kind: 'make'; readonly id: number }
  /** A network that somebody else has made: its connections come to a socket at this path. */
  | { readonly kind: 'listen'; readonly id: number; readonly path: string }
  | { readonly kind: 'open'; readonly id: number; readonly rules: NetworkRules }
  | { readonly kind: 'ask-use'; readonly id: number }
  | { readonly kind: 'drop'; readonly id: number };

export type FromRelay =
  /** The descriptor of the relay that stands for the network; -1 for one that somebody else has made. */
  | { readonly kind: 'made'; readonly id: number; readonly descriptor: number }
  | { readonly kind: 'opened'; readonly id: number }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string }
  /** `isAnswer`: it was asked for. */
  | { readonly kind: 'use'; readonly id: number; readonly use: NetworkUse; readonly isAnswer: boolean };

/** The first byte that the relay says on a connection of a network that somebody else has made: it goes on from there. */
export const GOES_ON = 0x79;
/** The longest line that says where such a connection was to go, bytes. */
export const MOST_HEADER_BYTES = 256;
