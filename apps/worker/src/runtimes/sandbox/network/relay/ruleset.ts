import type { NetworkRules } from './wire.ts';
import { NAME_PORT, OWN_ADDRESS, RELAY_ADDRESS, RELAY_PORT } from './wire.ts';

/** New connections that one instance may make: at once, and then each second. */
const BURST = 1000;
const PER_SECOND = 200;
/** Questions for names likewise. */
const NAME_BURST = 400;
const NAMES_PER_SECOND = 100;

const TO_RELAY = {
  ipv4: `dnat ip to ${RELAY_ADDRESS.ipv4}:${RELAY_PORT}`,
  ipv6: `dnat ip6 to [${RELAY_ADDRESS.ipv6}]:${RELAY_PORT}`,
} as const;

/** The commands for `ip -batch` that make a network whose every address is reached over its loopback device. */
export const IP_COMMANDS = {
  ipv4: [
    'link set lo up',
    `addr add ${OWN_ADDRESS.ipv4}/32 dev lo`,
    `addr add ${RELAY_ADDRESS.ipv4}/32 dev lo`,
    `route add default dev lo src ${OWN_ADDRESS.ipv4}`,
  ],
  ipv6: [
    `addr add ${OWN_ADDRESS.ipv6}/128 dev lo nodad`,
    `addr add ${RELAY_ADDRESS.ipv6}/128 dev lo nodad`,
    `route add default dev lo src ${OWN_ADDRESS.ipv6}`,
  ],
} as const;

/**
 * The rules of a network, for `nft -f`: each connection that does not stay in it goes to the relay, each question for a name
 * too, wherever it was sent, and all the rest is refused at once.
 */
export const RULESET = `
table inet pilum {
  chain turn {
    type nat hook output priority -100; policy accept;
    ip daddr { 127.0.0.0/8, ${OWN_ADDRESS.ipv4} } accept
    ip6 daddr { ::1, ${OWN_ADDRESS.ipv6} } accept
    udp dport ${NAME_PORT} meta nfproto ipv4 dnat ip to ${RELAY_ADDRESS.ipv4}:${NAME_PORT}
    meta nfproto ipv4 meta l4proto tcp ${TO_RELAY.ipv4}
    meta nfproto ipv6 meta l4proto tcp ${TO_RELAY.ipv6}
  }
  chain hold {
    type filter hook output priority 0; policy drop;
    ip daddr ${RELAY_ADDRESS.ipv4} tcp dport ${RELAY_PORT} ct state new limit rate over ${PER_SECOND}/second burst ${BURST} packets reject with tcp reset
    ip6 daddr ${RELAY_ADDRESS.ipv6} tcp dport ${RELAY_PORT} ct state new limit rate over ${PER_SECOND}/second burst ${BURST} packets reject with tcp reset
    ip daddr ${RELAY_ADDRESS.ipv4} udp dport ${NAME_PORT} limit rate over ${NAMES_PER_SECOND}/second burst ${NAME_BURST} packets reject
    ip daddr { 127.0.0.0/8, ${OWN_ADDRESS.ipv4} } accept
    ip6 daddr { ::1, ${OWN_ADDRESS.ipv6} } accept
    ip daddr ${RELAY_ADDRESS.ipv4} tcp dport ${RELAY_PORT} accept
    ip6 daddr ${RELAY_ADDRESS.ipv6} tcp dport ${RELAY_PORT} accept
    ip daddr ${RELAY_ADDRESS.ipv4} udp dport ${NAME_PORT} accept
    ip saddr ${RELAY_ADDRESS.ipv4} accept
    ip6 saddr ${RELAY_ADDRESS.ipv6} accept
    reject
  }
}
`;

/**
 * The rules for `nft -f` that turn connections to the loopback addresses of a list to the relay as well, where others stay in
 * the network; empty where it names none.
 */
export function loopbackRules({ targets }: NetworkRules): string {
  const lines = targets.flatMap((target) => {
    if (target.kind === 'name' || target.port === null || !isLoopback(target.address)) return [];
    const { address, prefix, port, family } = target;
    const where = `${family === 'ipv4' ? 'ip' : 'ip6'} daddr ${address}/${prefix}`;
    return [`insert rule inet pilum turn ${where} tcp dport ${port} ${TO_RELAY[family]}`];
  });
  return lines.join('\n');
}

/** Tells whether a network is its own for every machine. */
const isLoopback = (address: string) => address.startsWith('127.') || address === '::1';
