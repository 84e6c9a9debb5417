import { spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { enterNetwork, enterNewNetwork, openSocket } from './libc.ts';
import { IP_COMMANDS, RULESET } from './ruleset.ts';
import { NAME_PORT, RELAY_ADDRESS, RELAY_PORT } from './wire.ts';

/** The descriptors of a network that was made, in the relay's process: the network itself, and sockets in it. */
export interface MadeNetwork {
  readonly network: number;
  readonly tcp4: number;
  readonly tcp6: number;
  readonly names: number;
}

export type ToThread =
  | { readonly kind: 'make'; readonly id: number }
  | { readonly kind: 'add-rules'; readonly id: number; readonly network: number; readonly rules: string };

export type FromThread =
  | { readonly id: number; readonly made: MadeNetwork }
  | { readonly id: number; readonly done: true }
  | { readonly id: number; readonly problem: string };

/** The longest that `ip` or `nft` may take, ms. */
const LIMIT_MS = 10_000;

// A thread of its own: the network of a thread is that of the sockets that it opens and of the programs that it starts, and
// the main thread, which goes out for functions, stays in the machine's.
parentPort?.on('message', (message: ToThread) => {
  const { id } = message;
  try {
    if (message.kind === 'make') post({ id, made: make() });
    else {
      enterNetwork(message.network);
      run('nft', ['-f', '-'], message.rules);
      post({ id, done: true });
    }
  } catch (error) {
    post({ id, problem: error instanceof Error ? error.message : String(error) });
  }
});

const post = (message: FromThread) => parentPort?.postMessage(message);

function make(): MadeNetwork {
  enterNewNetwork();
  run('ip', ['-batch', '-'], IP_COMMANDS.ipv4.join('\n'));
  run('ip', ['-6', '-batch', '-'], IP_COMMANDS.ipv6.join('\n'));
  run('nft', ['-f', '-'], RULESET);
  return {
    tcp4: openSocket('ipv4', 'tcp', { address: RELAY_ADDRESS.ipv4, port: RELAY_PORT }),
    tcp6: openSocket('ipv6', 'tcp', { address: RELAY_ADDRESS.ipv6, port: RELAY_PORT }),
    names: openSocket('ipv4', 'udp', { address: RELAY_ADDRESS.ipv4, port: NAME_PORT }),
    network: openSync('/proc/thread-self/ns/net', 'r'),
  };
}

function run(program: string, args: readonly string[], input: string): void {
  const { status, stderr, error } = spawnSync(program, args, { input, encoding: 'utf8', timeout: LIMIT_MS });
  if (error !== undefined) throw new Error(`${program} could not be run: ${error.message}`);
  if (status !== 0) throw new Error(`${program} failed: ${stderr.trim().slice(0, 500)}`);
}
