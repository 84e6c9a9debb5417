import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type Endpoint, type Family, originalDestination } from './libc.ts';
import { IP_COMMANDS, RULESET } from './ruleset.ts';
import { GOES_ON, NAME_PORT, RELAY_ADDRESS, RELAY_PORT } from './wire.ts';

// What runs in the container that holds the network of another one: it makes the network, and takes each connection that leaves
// it to the relay, over a socket in a directory of both. Which of them go on is the relay's to say.

const [relayPath = '', channelPath = '', rules = '', ...tool] = process.argv.slice(2);
/** The time in which a name is to be answered, ms. */
const NAME_LIMIT_MS = 10_000;
/** Names that may be asked for at once. */
const MOST_QUESTIONS = 32;

interface WithHandle {
  readonly _handle?: { readonly fd?: number };
}

/** Runs a program of the machine that was brought along with its loader and its libraries: `LOADER --library-path DIRECTORY DIRECTORY/name`. */
function run(name: string, args: readonly string[], input: string): void {
  const [loader = '', option = '', directory = ''] = tool;
  const all = [option, directory, `${directory}/${name}`, ...args];
  const { status, stderr, error } = spawnSync(loader, all, { input, encoding: 'utf8' });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${name} failed: ${stderr.trim()}`);
}

function take(family: Family, inner: Socket): void {
  inner.on('error', () => undefined);
  const descriptor = (inner as WithHandle)._handle?.fd;
  const to = descriptor === undefined ? null : originalDestination(family, descriptor);
  if (to === null) {
    inner.resetAndDestroy();
    return;
  }
  const outer = toRelay(to);
  let goesOn = false;
  outer.once('data', (first: Buffer) => {
    if (first[0] !== GOES_ON) {
      outer.destroy();
      return;
    }
    goesOn = true;
    outer.pause();
    if (first.length > 1) outer.unshift(first.subarray(1));
    inner.pipe(outer);
    outer.pipe(inner);
  });
  const end = () => {
    if (!goesOn) inner.resetAndDestroy();
  };
  outer.on('error', () => inner.resetAndDestroy());
  outer.once('end', end).once('close', end);
  inner.once('error', () => outer.destroy());
  inner.once('close', () => {
    if (!inner.readableEnded) outer.destroy();
  });
}

function toRelay({ address, port }: Endpoint): Socket {
  const outer = connect({ path: relayPath, allowHalfOpen: true });
  outer.write(`${address} ${port}\n`);
  return outer;
}

let underWay = 0;

/** Asks the relay for a name, as over TCP: the length comes before the message. */
function ask(message: Buffer, answered: (answer: Buffer) => void): void {
  if (underWay >= MOST_QUESTIONS) return;
  underWay++;
  const outer = toRelay({ address: RELAY_ADDRESS.ipv4, port: NAME_PORT });
  let held: Buffer = Buffer.alloc(0);
  outer.setTimeout(NAME_LIMIT_MS, () => outer.destroy());
  outer.write(Buffer.concat([Buffer.of(message.length >> 8, message.length & 255), message]));
  outer.on('data', (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    if (held.length < 3 || held.length < 3 + held.readUInt16BE(1)) return;
    answered(held.subarray(3, 3 + held.readUInt16BE(1)));
    outer.destroy();
  });
  outer.on('error', () => undefined);
  outer.once('close', () => {
    underWay--;
  });
}

run('ip', ['-batch', '-'], IP_COMMANDS.ipv4.join('\n'));
run('ip', ['-6', '-batch', '-'], IP_COMMANDS.ipv6.join('\n'));
run('nft', ['-f', '-'], RULESET);
if (rules !== '') run('nft', ['-f', '-'], rules);

const names = createSocket('udp4', (message, { address, port }) =>
  ask(message, (answer) => names.send(answer, port, address, () => undefined)),
);
names.on('error', () => undefined);
const servers = (['ipv4', 'ipv6'] as const).map((family) =>
  createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => take(family, socket))
    .on('error', () => process.exit(1))
    .listen(RELAY_PORT, RELAY_ADDRESS[family]),
);
names.bind(NAME_PORT, RELAY_ADDRESS.ipv4);
await Promise.all([...servers.map((server) => once(server, 'listening')), once(names, 'listening')]);

// Its end is that of the instance.
const channel = connect(channelPath);
channel.on('error', () => process.exit(1));
channel.on('close', () => process.exit(0));
channel.resume();
