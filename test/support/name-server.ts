import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import packets from 'dns-packet';

/** A real server of names for tests, on loopback: it says what it is told to. */
export interface NameServer {
  /** Where it is asked, `address:port`. */
  readonly at: string;
  /** The addresses of each name; of one that is not there, there is no such name. Each answer is made anew from it. */
  readonly names: Map<string, readonly string[]>;
  /** The names that were asked for. */
  readonly asked: string[];
  close(): void;
}

export async function startNameServer(): Promise<NameServer> {
  const names = new Map<string, readonly string[]>();
  const asked: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (message, { port, address }) => {
    const { id, questions = [] } = packets.decode(message);
    const [question] = questions;
    if (question === undefined) return;
    const { name, type } = question;
    asked.push(name);
    const known = names.get(name);
    const ofType = (known ?? []).filter((known) => known.includes(':') === (type === 'AAAA'));
    const answers = ofType.map((data) => ({ type: type as 'A' | 'AAAA', name, ttl: 0, data }));
    const flags = packets.RECURSION_AVAILABLE | (known === undefined ? 3 : 0);
    socket.send(packets.encode({ type: 'response', id, flags, questions, answers }), port, address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address() as AddressInfo;
  return { at: `127.0.0.1:${port}`, names, asked, close: () => socket.close() };
}
