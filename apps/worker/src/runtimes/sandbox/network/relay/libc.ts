import { dlopen } from 'node:ffi';

// The calls of the C library that Node has no function for. Numbers are those of Linux, the same on every processor that Node
// runs on but for none of these.

const { functions } = dlopen('libc.so.6', {
  unshare: { arguments: ['i32'], return: 'i32' },
  setns: { arguments: ['i32', 'i32'], return: 'i32' },
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  bind: { arguments: ['i32', 'pointer', 'u32'], return: 'i32' },
  listen: { arguments: ['i32', 'i32'], return: 'i32' },
  getsockopt: { arguments: ['i32', 'i32', 'i32', 'pointer', 'pointer'], return: 'i32' },
});

const CLONE_NEWNET = 0x40000000;
const AF = { ipv4: 2, ipv6: 10 } as const;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** SOL_IP with SO_ORIGINAL_DST, and SOL_IPV6 with IP6T_SO_ORIGINAL_DST. */
const ORIGINAL = { ipv4: { level: 0, option: 80 }, ipv6: { level: 41, option: 80 } } as const;
const LONGEST_ADDRESS = 28;
const BACKLOG = 511;

export type Family = keyof typeof AF;
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Puts the calling thread into a new network, which has nothing but a loopback device that is down. */
export function enterNewNetwork(): void {
  must(functions.unshare(CLONE_NEWNET), 'unshare');
}

/** Puts the calling thread into a network. */
export function enterNetwork(descriptor: number): void {
  must(functions.setns(descriptor, CLONE_NEWNET), 'setns');
}

/** Opens a socket in the calling thread's network, bound to an address, and returns its descriptor. */
export function openSocket(family: Family, kind: 'tcp' | 'udp', endpoint: Endpoint): number {
  const type = (kind === 'tcp' ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC;
  const descriptor = must(functions.socket(AF[family], type, 0), 'socket');
  const address = encode(family, endpoint);
  must(functions.bind(descriptor, address, address.length), 'bind');
  if (kind === 'tcp') must(functions.listen(descriptor, BACKLOG), 'listen');
  return descriptor;
}

/** Returns where a connection was to go before it was sent to this process; null for one that came by itself. */
export function originalDestination(family: Family, descriptor: number): Endpoint | null {
  const { level, option } = ORIGINAL[family];
  const address = Buffer.alloc(LONGEST_ADDRESS);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(LONGEST_ADDRESS);
  if (functions.getsockopt(descriptor, level, option, address, length) !== 0) return null;
  const port = address.readUInt16BE(2);
  if (family === 'ipv4') return { address: address.subarray(4, 8).join('.'), port };
  const groups = Array.from({ length: 8 }, (_, index) => address.readUInt16BE(8 + 2 * index).toString(16));
  return { address: groups.join(':'), port };
}

function encode(family: Family, { address, port }: Endpoint): Buffer {
  const bytes = Buffer.alloc(family === 'ipv4' ? 16 : LONGEST_ADDRESS);
  bytes.writeUInt16LE(AF[family]);
  bytes.writeUInt16BE(port, 2);
  if (family === 'ipv4') bytes.set(address.split('.').map(Number), 4);
  else bytes.set(bytesOfIpv6(address), 8);
  return bytes;
}

function bytesOfIpv6(address: string): Buffer {
  const [head = '', tail] = address.split('::');
  const groups = (text: string) => text.split(':').filter(Boolean);
  const missing = 8 - groups(head).length - groups(tail ?? '').length;
  const all = tail === undefined ? groups(head) : [...groups(head), ...Array(missing).fill('0'), ...groups(tail)];
  const bytes = Buffer.alloc(16);
  all.forEach((group, index) => void bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * index));
  return bytes;
}

function must(result: number, call: string): number {
  if (result < 0) throw new Error(`${call} failed`);
  return result;
}
