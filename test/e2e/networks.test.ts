// @needs bubblewrap, network, python, postgres, docker
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { probeNetwork } from '../../apps/worker/src/runtimes/sandbox/network/relay-programs.ts';
import { IMAGES, whyNoEngine } from '../support/docker.ts';
import { keep } from '../support/kept.ts';
import { type NameServer, startNameServer } from '../support/name-server.ts';
import { ownAddress } from '../support/own-address.ts';
import { packed } from '../support/packed.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { postgresMissing, startPostgres, type TestPostgres } from '../support/postgres.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';

const NETWORK = readFileSync(join(import.meta.dirname, '../fixtures/functions/network.mjs'), 'utf8');

const NODE_QUERY = `
import pg from 'pg';
let client;
export default async ({ url, text }) => {
  if (client === undefined) {
    client = new pg.Client({ connectionString: url });
    await client.connect();
  }
  return (await client.query(text)).rows;
};
`;
const PYTHON_QUERY = `
import psycopg2
def handler(event, context):
    connection = psycopg2.connect(event["url"])
    try:
        cursor = connection.cursor()
        cursor.execute(event["text"])
        return cursor.fetchall()
    finally:
        connection.close()
`;
const PYTHON_HTTPS = `
import ssl, urllib.request
def handler(event, context):
    trust = ssl.create_default_context(cadata=event["ca"])
    try:
        return urllib.request.urlopen(event["url"], context=trust, timeout=8).read().decode()
    except Exception as error:
        return repr(error)
`;

/** A server that asks an echo for its answers. */
const SERVER = (port: number, host: string) => `
import { createServer } from 'node:http';
import { connect } from 'node:net';
createServer((request, response) => connect(${port}, '${host}').end('from a server').pipe(response)).listen(process.env.PORT);
`;

/** An attempt of the function in network.mjs, and a port of what it is to reach. */
type Attempt = Record<string, unknown>;

const isHere = await probeNetwork(process.getuid?.() === 0 ? { uid: 65_534 } : null);
const noEngine = await whyNoEngine();
const missing = isHere.ok ? postgresMissing() : isHere.problem;

describe.skipIf(missing !== null)('networks that are closed to a list', () => {
  const own = ownAddress();
  let pilum: TestPilum;
  let names: NameServer;
  let postgres: TestPostgres;
  let echo: number;
  let secret: number;
  let web: { readonly port: number; readonly ca: string };
  const kept = keep();

  beforeAll(async () => {
    names = kept.add(await startNameServer());
    postgres = kept.add(await startPostgres(own));
    echo = await listen('0.0.0.0');
    secret = await listen('0.0.0.0');
    web = await serveHttps();
    pilum = kept.add(await startPilum({ env: { PILUM_RESOLVER: names.at } }));
    names.names.set('db.test.example', [own]);
    names.names.set('api.test.example', [own]);
    await pilum.deploy('tries', {
      code: { inline: NETWORK },
      limits: {
        network: { allow: ['api.test.example', '*.wild.example:443', `${own}:${echo}`, `${own}:${web.port}`] },
      },
    });
  }, 120_000);

  /** A server that answers with what it was sent. */
  async function listen(address: string): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      socket.pipe(socket);
    }).listen(0, address);
    await once(server, 'listening');
    kept.add(server);
    return (server.address() as AddressInfo).port;
  }

  async function serveHttps(): Promise<{ port: number; ca: string }> {
    const directory = makeTemporaryDirectory();
    const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')];
    const subject = ['-subj', '/CN=api.test.example', '-addext', 'subjectAltName=DNS:api.test.example'];
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    execFileSync('openssl', ['req', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const server = createHttps({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
      if (request.url === '/away') response.writeHead(302, { location: `https://closed.example:${web.port}/` }).end();
      else response.end(`secure ${request.url}`);
    }).listen(0, own);
    await once(server, 'listening');
    kept.add(server);
    return { port: (server.address() as AddressInfo).port, ca: readFileSync(cert, 'utf8') };
  }

  async function tries(...attempts: Attempt[]) {
    const { body } = await pilum.invoke('tries', attempts);
    expect(body.status, JSON.stringify(body.error)).toBe('completed');
    return { results: body.result as { value?: unknown; error?: string }[], network: body.network };
  }

  it('plain TCP gets to an address that is named, both ways and to the end, and the record says how much', async () => {
    const text = 'x'.repeat(300_000);
    const { results, network } = await tries({ try: 'tcp', host: own, port: echo, text, closes: true });
    expect(results).toEqual([{ value: text }]);
    expect(network).toEqual({ connections: 1, sentBytes: 300_000, receivedBytes: 300_000, refused: [] });
  });

  it('a driver of PostgreSQL works unchanged, by name and over one connection, from Node', async () => {
    const { bytes, digest } = await packed({ 'index.mjs': NODE_QUERY }, ['pg']);
    const headers = { 'content-type': 'application/octet-stream' };
    await pilum.call('PUT', `/v1/blobs/${digest}`, { body: bytes, headers });
    const network = { allow: [`db.test.example:${postgres.port}`, `${own}:${postgres.port}`] };
    await pilum.deploy('asks-node', { code: { digest, format: 'tar' }, limits: { network } });
    const first = await pilum.invoke('asks-node', { url: url(), text: 'select 6 * 7 as answer' });
    expect(first.body).toMatchObject({ status: 'completed', result: [{ answer: 42 }], network: { connections: 1 } });
    const second = await pilum.invoke('asks-node', { url: url(), text: 'select repeat($$x$$, 100000) as x' });
    expect(second.body).toMatchObject({ status: 'completed', network: { connections: 0, refused: [] } });
    expect(second.body.network?.receivedBytes).toBeGreaterThan(100_000);
  });

  it('a driver of PostgreSQL works unchanged, by name, from Python', async () => {
    const network = { allow: [`db.test.example:${postgres.port}`, `${own}:${postgres.port}`] };
    await pilum.deploy('asks-python', { language: 'python', code: { inline: PYTHON_QUERY }, limits: { network } });
    const { body } = await pilum.invoke('asks-python', { url: url(), text: 'select 6 * 7' });
    expect(body).toMatchObject({ status: 'completed', result: [[42]], network: { connections: 1, refused: [] } });
  });

  const url = () =>
    `postgres://${postgres.user}:${encodeURIComponent(postgres.password)}@db.test.example:${postgres.port}/postgres`;

  it('HTTPS works by name from Node and Python, and a redirect leads to nothing that is not named', async () => {
    const at = { try: 'https', ca: web.ca };
    const base = `https://api.test.example:${web.port}`;
    const { results, network } = await tries({ ...at, url: `${base}/a` }, { ...at, url: `${base}/away`, follow: true });
    expect(results).toEqual([{ value: '200 secure /a' }, { error: 'ENOTFOUND' }]);
    expect(network).toMatchObject({ connections: 2, refused: ['closed.example'] });
    await pilum.deploy('gets-python', {
      language: 'python',
      code: { inline: PYTHON_HTTPS },
      limits: { network: { allow: ['api.test.example', `${own}:${web.port}`] } },
    });
    const python = async (path: string) =>
      (await pilum.invoke('gets-python', { ca: web.ca, url: `${base}${path}` })).body.result;
    expect(await python('/b')).toBe('secure /b');
    expect(await python('/away')).toMatch(/Name or service not known|No address associated|Temporary failure/);
  });

  it('literal addresses that are not named are refused at once, whatever they are, and named in the record', async () => {
    const at = { try: 'tcp', port: secret };
    const closed = [own, '8.8.8.8', '169.254.169.254', '10.0.0.1', '2606:4700:4700::1111', 'fd00:ec2::254', '0.0.0.0'];
    const { results, network } = await tries(...closed.map((host) => ({ ...at, host })), { ...at, host: '127.0.0.1' });
    expect(results.map(({ error }) => error)).toEqual([
      ...closed.slice(0, -1).map(() => 'ECONNRESET'),
      // These two are the function's own loopback, where nobody listens.
      'ECONNREFUSED',
      'ECONNREFUSED',
    ]);
    expect(network).toMatchObject({ connections: 0, sentBytes: 0 });
    expect(network?.refused).toEqual([
      ...[own, '8.8.8.8', '169.254.169.254', '10.0.0.1'].map((host) => `${host}:${secret}`),
      ...['2606:4700:4700::1111', 'fd00:ec2::254'].map((host) => `[${host}]:${secret}`),
    ]);
  });

  it('names that are not named are asked of nobody, whichever server the function asks', async () => {
    const before = names.asked.length;
    const { results, network } = await tries(
      { try: 'lookup', name: 'c2VjcmV0.tunnel.example' },
      { try: 'ask', name: 'c2VjcmV0.tunnel.example', type: 'TXT' },
      { try: 'ask', server: '8.8.8.8', name: 'c2VjcmV0.tunnel.example' },
      { try: 'ask', server: names.at, name: 'c2VjcmV0.tunnel.example' },
      { try: 'lookup', name: 'wild.example' },
      { try: 'lookup', name: 'api.test.example.tunnel.example' },
    );
    expect(results.every(({ error }) => error !== undefined)).toBe(true);
    expect(results[0]).toEqual({ error: 'ENOTFOUND' });
    expect(names.asked.slice(before)).toEqual([]);
    expect(network?.refused).toContain('c2vjcmv0.tunnel.example');
  });

  it('no datagram leaves: QUIC and tunnels over UDP are refused at once', async () => {
    const { results } = await tries(
      { try: 'udp', host: '8.8.8.8', port: 443 },
      { try: 'udp', host: own, port: echo },
      { try: 'udp', host: '2606:4700:4700::1111', port: 443 },
      { try: 'udp', host: '2606:4700:4700::1111', port: 53 },
    );
    for (const { error } of results) expect(error).toMatch(/EPERM|ECONNREFUSED/);
  });

  it('a name that turns out to be a closed address is not answered, however often it changes', async () => {
    names.names.set('api.wild.example', ['127.0.0.1', '169.254.169.254', '10.0.0.1', '::ffff:10.0.0.1', '::1']);
    const all = await tries({ try: 'lookup', name: 'api.wild.example' });
    expect(all.results).toEqual([{ error: 'ENOTFOUND' }]);
    expect(all.network?.refused).toContain('api.wild.example (169.254.169.254)');
    // The name is open for 443 only, and its address for two other ports.
    names.names.set('api.wild.example', [own]);
    const { results } = await tries(
      { try: 'lookup', name: 'api.wild.example' },
      { try: 'tcp', host: 'api.wild.example', port: echo },
      { try: 'tcp', host: 'api.wild.example', port: secret },
    );
    expect(results).toEqual([{ value: [own] }, { value: 'hello' }, { error: 'ECONNRESET' }]);
    names.names.set('api.wild.example', ['127.0.0.1']);
    const rebound = await tries({ try: 'tcp', host: 'api.wild.example', port: secret });
    expect(rebound.results).toEqual([{ error: 'ENOTFOUND' }]);
  });

  it('loopback of the machine is reached where the list names its port, and stays the own one else', async () => {
    const network = { allow: [`127.0.0.1:${echo}`, `[::1]:${secret}`] };
    const six = createServer((socket) => socket.pipe(socket)).listen(secret, '::1');
    await once(six, 'listening');
    kept.add(six);
    await pilum.deploy('home', { code: { inline: NETWORK }, limits: { network } });
    const { body } = await pilum.invoke('home', [
      { try: 'tcp', host: '127.0.0.1', port: echo },
      { try: 'tcp', host: '::1', port: secret },
      { try: 'tcp', host: '127.0.0.1', port: secret },
    ]);
    expect(body.result).toEqual([{ value: 'hello' }, { value: 'hello' }, { error: 'ECONNREFUSED' }]);
  });

  it('egress opens nothing that is not public, and not what listens on this machine', async () => {
    await pilum.deploy('out', { code: { inline: NETWORK }, limits: { network: 'egress' } });
    const api = Number(new URL(pilum.url).port);
    const { body } = await pilum.invoke('out', [
      { try: 'tcp', host: own, port: echo },
      { try: 'tcp', host: '169.254.169.254', port: 80 },
      { try: 'tcp', host: own, port: api },
      { try: 'tcp', host: 'api.test.example', port: echo },
    ]);
    expect(body.result).toEqual([...[1, 2, 3].map(() => ({ error: 'ECONNRESET' })), { error: 'ENOTFOUND' }]);
  });

  it("Pilum's own API is closed to a list that names it", async () => {
    const api = Number(new URL(pilum.url).port);
    await pilum.deploy('insider', { code: { inline: NETWORK }, limits: { network: { allow: [`127.0.0.1:${api}`] } } });
    const { body } = await pilum.invoke('insider', [{ try: 'tcp', host: '127.0.0.1', port: api }]);
    expect(body.result).toEqual([{ error: 'ECONNRESET' }]);
    expect(body.network?.refused).toEqual([`127.0.0.1:${api}`]);
  });

  it('a function that fails is told what was refused; a command and a server have the same network', async () => {
    const inline = `import dns from 'node:dns/promises'; export default () => dns.lookup('closed.example');`;
    await pilum.deploy('fails', { code: { inline }, limits: { network: { allow: ['api.test.example'] } } });
    const { body } = await pilum.invoke('fails', {});
    expect(body.error?.hint).toContain('closed.example');
    expect(body.network?.refused).toEqual(['closed.example']);
    const script = `exec 3<>/dev/tcp/${own}/$0 && echo hello >&3 && head -1 <&3`;
    const limits = { network: { allow: [`${own}:${echo}`] } };
    await pilum.deploy('command', { protocol: 'stdio', command: ['/bin/bash', '-c', script, String(echo)], limits });
    const command = await pilum.invoke('command', {});
    expect(command.body).toMatchObject({
      result: 'hello\n',
      network: { connections: 1, sentBytes: 6, receivedBytes: 6 },
    });
    await pilum.deploy('server', {
      protocol: 'http',
      command: ['node', 'server.mjs'],
      code: { inline: SERVER(echo, own) },
      entry: 'server.mjs',
      limits,
    });
    const answer = await pilum.call('GET', '/fn/server/');
    expect([answer.status, answer.text]).toEqual([200, 'from a server']);
  });

  it('instances that start at once have a network each, and none reaches what is named for another', async () => {
    const ports = await Promise.all(Array.from({ length: 6 }, () => listen('0.0.0.0')));
    const all = ports.map((port) => ({ try: 'tcp', host: own, port }));
    await Promise.all(
      ports.map((port, n) =>
        pilum.deploy(`one-${n}`, { code: { inline: NETWORK }, limits: { network: { allow: [`${own}:${port}`] } } }),
      ),
    );
    const answers = await Promise.all(ports.map((_, n) => pilum.invoke(`one-${n}`, all)));
    for (const [n, { body }] of answers.entries()) {
      expect(body.result).toEqual(ports.map((_, m) => (m === n ? { value: 'hello' } : { error: 'ECONNRESET' })));
      expect(body.network).toMatchObject({ connections: 1, sentBytes: 5 });
    }
  });

  it.skipIf(noEngine !== null)(
    'a container has the same network: handler, command and server, and the same is refused',
    async () => {
      const network = { allow: [`${own}:${echo}`, `${own}:${web.port}`, 'api.test.example', `127.0.0.1:${secret}`] };
      const of = (spec: Record<string, unknown>) => ({ runtime: 'docker', limits: { network }, ...spec });
      await pilum.deploy('boxed', of({ code: { inline: NETWORK } }));
      const { body } = await pilum.invoke('boxed', [
        { try: 'tcp', host: own, port: echo, text: 'x'.repeat(300_000), closes: true },
        { try: 'tcp', host: '127.0.0.1', port: secret },
        { try: 'https', url: `https://api.test.example:${web.port}/boxed`, ca: web.ca },
        { try: 'https', url: `https://api.test.example:${web.port}/away`, ca: web.ca, follow: true },
        { try: 'tcp', host: own, port: secret },
        { try: 'tcp', host: '169.254.169.254', port: 80 },
        { try: 'tcp', host: '2606:4700:4700::1111', port: 443 },
        { try: 'udp', host: '8.8.8.8', port: 443 },
        { try: 'ask', server: '8.8.8.8', name: 'secret.tunnel.example' },
      ]);
      expect(body.result).toEqual([
        { value: 'x'.repeat(300_000) },
        { value: 'hello' },
        { value: '200 secure /boxed' },
        ...['ENOTFOUND', 'ECONNRESET', 'ECONNRESET', 'ECONNRESET'].map((error) => ({ error })),
        { error: expect.stringMatching(/EPERM|ECONNREFUSED/) },
        { error: 'ENOTFOUND' },
      ]);
      expect(body.network).toMatchObject({ connections: 4 });
      expect(body.network?.refused).toContain('secret.tunnel.example');
      const script = `exec 3<>/dev/tcp/${own}/${echo} && echo hello >&3 && head -1 <&3; ! ip link add dummy0 type dummy 2>/dev/null`;
      const code = { image: IMAGES.debian };
      await pilum.deploy('boxed-command', of({ protocol: 'stdio', code, command: ['/bin/bash', '-c', script] }));
      const command = await pilum.invoke('boxed-command', {});
      expect(command.body).toMatchObject({ result: 'hello\n', network: { connections: 1, sentBytes: 6 } });
      const inline = SERVER(echo, own);
      const server = { protocol: 'http', command: ['node', '/code/server.mjs'], entry: 'server.mjs' };
      await pilum.deploy('boxed-server', of({ ...server, code: { inline, image: IMAGES.node } }));
      const answer = await pilum.call('GET', '/fn/boxed-server/');
      expect([answer.status, answer.text]).toEqual([200, 'from a server']);
    },
  );

  it('a relay that is killed takes its instances with it, and the next call has another one', async () => {
    const at = { try: 'tcp', host: own, port: echo };
    expect((await tries(at)).results).toEqual([{ value: 'hello' }]);
    const [worker] = pilum.workers;
    const relays = () =>
      execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(worker?.pid)], { encoding: 'utf8' })
        .split('\n')
        .filter((line) => line.includes('bootstrap-relay'))
        .map((line) => Number.parseInt(line, 10));
    const [relay = 0] = relays();
    expect(relay).toBeGreaterThan(0);
    process.kill(relay, 'SIGKILL');
    await waitFor(async () => (await tries(at)).results[0]?.value === 'hello');
    const [next = 0] = relays();
    expect(next).not.toBe(relay);
    worker?.signal('SIGKILL');
    await worker?.ended;
    await waitFor(() => {
      try {
        process.kill(next, 0);
        return false;
      } catch {
        return true;
      }
    });
    await pilum.addWorker();
    expect((await tries(at)).results).toEqual([{ value: 'hello' }]);
  });
});
