import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { labelOf, readOwner } from '../../../apps/worker/src/ownership/owner.ts';
import { BridgeSockets, removeOrphanSockets } from '../../../apps/worker/src/runtimes/protocols/http/bridged-dialer.ts';
import { waitFor } from '../../support/wait-for.ts';

const sockets = new BridgeSockets();
afterEach(() => sockets.close());

it('a socket that is handed over stays, takes no connection here, and goes when it is removed', async () => {
  const socket = await sockets.open();
  expect(socket.descriptor).toBeGreaterThan(2);
  const { mode } = await stat(dirname(socket.path));
  expect(mode & 0o077, 'nobody else can go in').toBe(0);
  socket.handedOver();
  expect(existsSync(socket.path)).toBe(true);
  // Nobody has it, and so nobody listens.
  const refused = await new Promise<string>((resolve) => {
    createConnection(socket.path).once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
  expect(refused).toBe('ECONNREFUSED');
  await socket.remove();
  await socket.remove();
  expect(existsSync(socket.path)).toBe(false);
});

it('its path is short enough for a socket, wherever the data lies', async () => {
  const socket = await sockets.open();
  expect(Buffer.byteLength(`${socket.path}.new`)).toBeLessThan(108);
  await socket.remove();
});

it('its path is short enough where TMPDIR is not, and a worker that follows finds it there', async () => {
  const { TMPDIR } = process.env;
  const long = await mkdtemp(join(tmpdir(), 'x'.repeat(60)));
  process.env.TMPDIR = long;
  try {
    const elsewhere = new BridgeSockets();
    const socket = await elsewhere.open();
    expect(socket.path.startsWith(long)).toBe(false);
    expect(Buffer.byteLength(`${socket.path}.new`)).toBeLessThan(108);
    await removeOrphanSockets();
    expect(existsSync(socket.path)).toBe(true);
    await elsewhere.close();
  } finally {
    if (TMPDIR === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = TMPDIR;
    await rm(long, { recursive: true });
  }
});

it('their directory is made again where a cleaner has taken it away', async () => {
  const first = await sockets.open();
  await rm(dirname(first.path), { recursive: true });
  const [second, third] = await Promise.all([sockets.open(), sockets.open()]);
  expect([existsSync(second.path), existsSync(third.path)]).toEqual([true, true]);
  await Promise.all([first.remove(), second.remove(), third.remove()]);
});

it('the sockets of a worker that is dead are removed, and those of one that lives stay', async () => {
  const mine = await sockets.open();
  const { pidNamespace, kernel } = await readOwner();
  const dead = join(tmpdir(), `pilum-http-${labelOf({ pid: 4_194_303, startedAt: '1', pidNamespace, kernel })}-test`);
  await mkdir(dead);
  await writeFile(join(dead, 'left'), '');
  await removeOrphanSockets();
  expect(existsSync(dead)).toBe(false);
  expect(existsSync(mine.path)).toBe(true);
  await mine.remove();
  await sockets.close();
  await sockets.close();
  const label = labelOf(await readOwner());
  await waitFor(async () => !(await readdir(tmpdir())).some((name) => name.startsWith(`pilum-http-${label}-`)));
  await rm(dead, { recursive: true, force: true });
});
