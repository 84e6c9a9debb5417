import { Worker } from 'node:worker_threads';
import { Names } from './names.ts';
import type { FromThread, MadeNetwork, ToThread } from './namespace-thread.ts';
import { RelayedNetwork } from './relayed-network.ts';
import { loopbackRules } from './ruleset.ts';
import type { FromRelay, NetworkUse, ToRelay } from './wire.ts';
import { World } from './world.ts';

// The relay of a worker: a process without privileges that makes networks for instances, and connections and questions for
// names on their behalf. Whatever a function says to it is read here, where it may be killed. Lines of JSON come in at stdin and go out at stdout.

/** Between two looks at what was used, ms. */
const USE_MS = 500;

const networks = new Map<number, RelayedNetwork>();
const told = new Map<number, string>();
const waiting = new Map<number, (answer: FromThread) => void>();
let surroundings: { readonly world: World; readonly names: Names } | null = null;

const say = (message: FromRelay) => process.stdout.write(`${JSON.stringify(message)}\n`);

const thread = new Worker(new URL('namespace-thread.ts', import.meta.url), { trackUnmanagedFds: false });
thread.on('message', (answer: FromThread) => {
  waiting.get(answer.id)?.(answer);
  waiting.delete(answer.id);
});
// Without it no network can be made, and whoever has started this process starts another.
thread.on('error', (error) => {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
});

function askThread(message: ToThread): Promise<FromThread> {
  const { promise, resolve } = Promise.withResolvers<FromThread>();
  waiting.set(message.id, resolve);
  thread.postMessage(message);
  return promise;
}

async function take(message: ToRelay): Promise<void> {
  if (message.kind === 'settings') {
    const { settings } = message;
    const world = new World(settings);
    await world.open();
    surroundings = { world, names: new Names(world, settings.resolvers) };
    return;
  }
  const { id } = message;
  if (message.kind === 'make') {
    const answer = await askThread(message);
    if ('made' in answer) await add(id, answer.made);
    else if ('problem' in answer) say({ kind: 'failed', id, message: answer.problem });
    return;
  }
  if (message.kind === 'listen') {
    await add(id, message.path);
    return;
  }
  const network = networks.get(id);
  if (network === undefined) return;
  if (message.kind === 'open') {
    // A network that somebody else has made has these rules from its start.
    const rules = network.descriptor < 0 ? '' : loopbackRules(message.rules);
    const answer = rules === '' ? null : await askThread({ kind: 'add-rules', id, network: network.descriptor, rules });
    if (answer !== null && 'problem' in answer) {
      say({ kind: 'failed', id, message: answer.problem });
      return;
    }
    network.open(message.rules);
    say({ kind: 'opened', id });
  } else if (message.kind === 'ask-use') tell(id, network.use(), true);
  else {
    networks.delete(id);
    told.delete(id);
    network.close();
  }
}

async function add(id: number, from: MadeNetwork | string): Promise<void> {
  if (surroundings === null) throw new Error('no settings have come');
  const network = new RelayedNetwork(from, surroundings.world, surroundings.names);
  try {
    await network.ready();
  } catch (error) {
    say({ kind: 'failed', id, message: error instanceof Error ? error.message : String(error) });
    return;
  }
  networks.set(id, network);
  say({ kind: 'made', id, descriptor: network.descriptor });
}

function tell(id: number, use: NetworkUse, isAnswer: boolean): void {
  told.set(id, JSON.stringify(use));
  say({ kind: 'use', id, use, isAnswer });
}

setInterval(() => {
  for (const [id, network] of networks) {
    const use = network.use();
    if (told.get(id) !== JSON.stringify(use)) tell(id, use, false);
  }
}, USE_MS).unref();

let held = '';
let turn: Promise<void> = Promise.resolve();
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text: string) => {
  const lines = (held + text).split('\n');
  held = lines.pop() ?? '';
  for (const line of lines) {
    const message = JSON.parse(line) as ToRelay;
    // The first one is what all others need.
    if (message.kind === 'settings') turn = take(message);
    else void turn.then(() => take(message));
  }
});
// The worker has gone, and with it everyone whose networks these are.
process.stdin.on('end', () => process.exit(0));
process.stdin.on('error', () => process.exit(0));
process.stdout.on('error', () => process.exit(0));
