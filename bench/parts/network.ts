import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import { pino } from 'pino';
import type { RuntimeInstance } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { createProcessRuntime } from '../../apps/worker/src/runtimes/process/process-runtime.ts';
import { chooseStagingDirectory } from '../../apps/worker/src/runtimes/sandbox/staging.ts';
import { fill } from '../../test/conformance/snapshots.ts';
import { ownAddress } from '../../test/support/own-address.ts';
import { differenceRow, ratioRow } from '../report/row.ts';
import { inTurn, type Part } from '../support/bench.ts';
import { makeDirectory } from '../support/directory.ts';
import type { Target } from '../targets/target.ts';

/** New connections of one sample. */
const CONNECTIONS = 100;
const CERTIFICATE = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench';

/** A function that connects again and again, and answers with the median of the time to the first byte, ms. */
const CONNECTS = `
import https from 'node:https';
import net from 'node:net';
const ways = {
  https: (to, done, failed) => https.get({ ...to, rejectUnauthorized: false, agent: false }, (answer) => {
    answer.once('data', done).resume();
  }).once('error', failed),
  tcp: (to, done, failed) => {
    const socket = net.connect(to, () => socket.write('x'));
    socket.once('data', () => { socket.destroy(); done(); }).once('error', failed);
  },
};
export default async ({ way, to, times }) => {
  const took = [];
  while (took.length < times) {
    const began = performance.now();
    await new Promise((done, failed) => ways[way](to, done, failed));
    took.push(performance.now() - began);
  }
  return took.sort((a, b) => a - b)[times >> 1];
};
`;

const side = (name: string): Target => ({ name, url: '', status: 0, pids: [] });

/** The first byte of a new connection through a relayed network, over one with the network of the machine. */
export const network: Part = {
  name: 'network',
  run: async (bench) => {
    const directory = await makeDirectory(bench.scope);
    const stagingDirectory = await chooseStagingDirectory(directory);
    const codeDirectory = join(stagingDirectory, 'code', 'network');
    await mkdir(codeDirectory, { recursive: true });
    await writeFile(join(codeDirectory, 'index.mjs'), CONNECTS);
    const host = ownAddress();
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    execFileSync('openssl', ['req', ...CERTIFICATE.split(' '), '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const web = createHttps({ key: await readFile(key), cert: await readFile(cert) }, (_, answer) => answer.end('x'));
    const plain = createServer((socket) => socket.on('error', () => undefined).on('data', () => socket.write('y')));
    for (const server of [web, plain]) {
      await once(server.listen(0, host), 'listening');
      await bench.scope.add('directory', async () => void server.close());
    }
    const runtime = createProcessRuntime({
      isolation: 'sandbox',
      stagingDirectory,
      nodePath: process.execPath,
      pythonPath: null,
      relay: { resolvers: [], denied: [], guarded: [] },
      allowHostNetwork: true,
      killGraceMs: 1000,
      freezeAfterMs: 0,
      prewarm: 0,
      workerId: `bench-${process.pid}`,
      logger: pino({ level: 'warn' }),
    });
    await bench.scope.add('process', () => runtime.close());
    const start = async (name: string, limits: ArtifactSpecInput['limits']) =>
      await runtime.start(
        { namespace: 'bench', version: fill({ runtime: 'process', limits }), codeDirectory, layers: [] },
        { instanceId: `bench-${process.pid}-${name}`, signal: new AbortController().signal },
      );
    const direct = side('the network of the machine');
    const relayed = side('a list');
    const instances = new Map<Target, RuntimeInstance>([
      [relayed, await start('relayed', { network: { allow: [host] } })],
      [direct, await start('direct', { network: 'host' })],
    ]);
    const measured = async (way: string, server: typeof web | typeof plain) => {
      const { port } = server.address() as AddressInfo;
      const take = async (target: Target) => await medianMs(instances.get(target), { way, to: { host, port } });
      for (const target of instances.keys()) await take(target);
      const taken = await inTurn(bench, [relayed, direct], take, (ms) => `${way} p50 ${ms.toFixed(2)} ms`);
      return { unit: 'ms', over: direct.name, pilum: taken(relayed), floor: taken(direct) };
    };
    return [
      ratioRow({
        measure: 'first byte of a new HTTPS connection through a list: p50',
        goal: { atMost: 1.3 },
        ...(await measured('https', web)),
      }),
      differenceRow({
        measure: 'first byte of a new TCP connection through a list, on one machine: p50',
        ...(await measured('tcp', plain)),
      }),
    ];
  },
};

async function medianMs(instance: RuntimeInstance | undefined, event: object): Promise<number> {
  const result = await instance?.call({
    taskId: 'network.1',
    attempt: 1,
    deadlineMs: Date.now() + 60_000,
    contentType: 'application/json',
    payload: Buffer.from(JSON.stringify({ ...event, times: CONNECTIONS })),
    headers: {},
    http: null,
    traceparent: null,
    log: { write: () => undefined },
    chunks: null,
    progress: () => undefined,
    signal: new AbortController().signal,
  });
  if (result?.ok !== true) throw new Error(`the function failed: ${result?.error.message}`);
  return JSON.parse(result.body.toString()) as number;
}
