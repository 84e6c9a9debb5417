import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { launch } from '../../support/launch.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitFor } from '../../support/wait-for.ts';

const BRIDGE = join(import.meta.dirname, '../../../apps/worker/src/runtimes/protocols/handler/bootstrap/bridge.mjs');
const PIECE = Buffer.alloc(64 * 1024, 'x');

it('an answer that comes before all was sent waits for whoever still sends', async () => {
  const directory = temporaryDirectory();
  const path = join(directory, 's');
  // It answers the first bytes and reads no others: its end is a failure for the bridge.
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.pause();
      socket.write('too large', () => socket.resetAndDestroy());
    });
  }).listen(0, '127.0.0.1');
  const worker = createServer().listen(join(directory, 'c'));
  await Promise.all([once(server, 'listening'), once(worker, 'listening')]);
  const { port } = server.address() as AddressInfo;
  const bridge = launch(process.execPath, [BRIDGE, String(port), path, join(directory, 'c')]);
  const [channel] = await once(worker, 'connection');
  try {
    const caller = await waitFor(async () => {
      const socket = createConnection({ path, allowHalfOpen: true });
      const failed = once(socket, 'error').then(() => null);
      return await Promise.race([once(socket, 'connect').then(() => socket), failed]);
    });
    const failures: Error[] = [];
    caller.on('error', (error) => failures.push(error));
    // Each connection begins with its id.
    caller.write('12345678');
    // Until the answer is there it is not read, and meanwhile ever more is sent.
    caller.write(PIECE);
    const said = once(caller, 'readable');
    await said;
    for (let i = 0; i < 40; i++) {
      await new Promise((resolve) => caller.write(PIECE, resolve));
    }
    expect(failures).toEqual([]);
    expect(String(caller.read())).toBe('too large');
    caller.end();
    caller.resume();
    await once(caller, 'close');
    expect(failures).toEqual([]);
  } finally {
    channel.destroy();
    await once(bridge, 'exit');
    server.close();
    worker.close();
  }
});
