import { execFile } from 'node:child_process';
import { createServer, type Server, type Socket, connect as tcp } from 'node:net';
import { promisify } from 'node:util';
import { EventSource } from 'undici';
import { beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';

const run = promisify(execFile);
const COUNT = 10_000;
const CUTS = 20;

let pilum: TestPilum;
let urls: string[];
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum());
  urls = [pilum.url, (await pilum.addApi()).url];
  await pilum.deploy('count', {
    code: {
      inline: `export default async function* (event) {
        for (let i = 1; i <= event.count; i++) { yield { i }; if (i % 50 === 0) await new Promise((r) => setTimeout(r, 10)); }
      }`,
    },
  });
});

/** Starts a stream that needs no reader, and gives the path of its events. */
async function startStream(): Promise<string> {
  const answer = await fetch(`${pilum.url}/v1/artifacts/count/stream?detach=true`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ count: COUNT }),
  });
  const location = answer.headers.get('location') ?? '';
  await answer.body?.cancel();
  return `${location}/stream`;
}

/** What lies between a client and two API processes: takes each connection to the other one, and cuts it after a while. */
class Cutter {
  readonly #server: Server;
  readonly #targets: readonly string[];
  connections = 0;
  #host = '';

  constructor(targets: readonly string[]) {
    this.#targets = targets;
    this.#server = createServer((socket) => this.#pass(socket));
  }

  async listen(): Promise<string> {
    const port = await freePort();
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.#host = `127.0.0.1:${port}`;
    return `http://${this.#host}`;
  }

  close(): void {
    this.#server.close();
  }

  #pass(socket: Socket): void {
    const turn = this.connections++;
    const target = new URL(this.#targets[turn % this.#targets.length] ?? '');
    const upstream = tcp(Number(target.port), target.hostname);
    for (const end of [socket, upstream]) end.on('error', () => undefined);
    // An API on loopback answers to its own name only.
    socket.on('data', (data: Buffer) => upstream.write(data.toString('latin1').replace(this.#host, target.host)));
    let bytes = 0;
    upstream.on('data', (data: Buffer) => {
      bytes += data.length;
      socket.write(data);
      // In the middle of an event, most likely.
      if (turn < CUTS && bytes > 3000) {
        socket.destroy();
        upstream.destroy();
      }
    });
    upstream.once('close', () => socket.end());
    socket.once('close', () => upstream.destroy());
  }
}

describe('a client that comes back by itself', () => {
  it('has each of ten thousand frames once and in order, cut off twenty times between two API processes', async () => {
    const cutter = new Cutter(urls);
    const url = await cutter.listen();
    const path = await startStream();
    const got: number[] = [];
    const source = new EventSource(url + path);
    const ended = new Promise<void>((resolve) => source.addEventListener('end', () => resolve()));
    source.addEventListener('chunk', (event) =>
      got.push((JSON.parse((event as MessageEvent).data) as { i: number }).i),
    );
    await ended;
    source.close();
    cutter.close();
    expect(cutter.connections).toBeGreaterThan(CUTS);
    expect(got).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1));
  });

  it('has them with curl -N as well', async () => {
    const path = await startStream();
    const got: number[] = [];
    let lastId = '0';
    let hasEnded = false;
    for (let turn = 0; !hasEnded && turn < 200; turn++) {
      const url = `${urls[turn % 2]}${path}`;
      const limit = turn < CUTS ? ['--max-time', '0.15'] : [];
      const args = ['-sN', ...limit, url, ...(lastId === '0' ? [] : ['-H', `last-event-id: ${lastId}`])];
      const { stdout } = await run('curl', args, { maxBuffer: 10_000_000 }).catch((error: { stdout: string }) => error);
      // What was cut off in the middle of an event is no event.
      for (const block of stdout.split('\n\n').slice(0, -1)) {
        const id = /^id: (\d+)$/m.exec(block)?.[1];
        if (id === undefined) continue;
        lastId = id;
        hasEnded = block.includes('event: end');
        if (!hasEnded) got.push((JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? '') as { i: number }).i);
      }
    }
    expect(got).toEqual(Array.from({ length: COUNT }, (_, i) => i + 1));
  });
});
