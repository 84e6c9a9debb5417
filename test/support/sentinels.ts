// @needs redis
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from './free-port.ts';
import { launch } from './launch.ts';
import { makeTemporaryDirectory } from './temporary-directory.ts';
import { waitFor } from './wait-for.ts';

const HOST = '127.0.0.1';
const PASSWORD = 'of-redis';
const SENTINEL_PASSWORD = 'of-sentinels';
const SENTINELS = 3;

interface Server {
  readonly port: number;
  readonly directory: string;
  child: ChildProcess;
}

/** A real primary with a replica, and three Sentinels that watch them. */
export class TestSentinels {
  /** What Pilum takes. */
  readonly url: string;
  readonly sentinelPassword = SENTINEL_PASSWORD;
  readonly #servers: readonly Server[];
  readonly #sentinels: readonly Server[];

  private constructor(servers: readonly Server[], sentinels: readonly Server[]) {
    this.#servers = servers;
    this.#sentinels = sentinels;
    this.url = `redis+sentinel://:${PASSWORD}@${sentinels.map(({ port }) => `${HOST}:${port}`).join(',')}/pilum`;
  }

  static async start(): Promise<TestSentinels> {
    const primary = await startServer(null);
    const replica = await startServer(primary.port);
    await waitFor(async () => (await infoOf(primary, 'replication')).includes('state=online'), { what: 'the replica' });
    const sentinels: Server[] = [];
    for (let i = 0; i < SENTINELS; i++) sentinels.push(await startSentinel(primary.port));
    const all = new TestSentinels([primary, replica], sentinels);
    await waitFor(
      async () => {
        const said = await all.#ask('SENTINEL', 'MASTER', 'pilum');
        const value = (name: string) => Number(said[said.indexOf(name) + 1]);
        return value('num-other-sentinels') === SENTINELS - 1 && value('num-slaves') === 1;
      },
      { what: 'Sentinels that know each other and the replica' },
    );
    return all;
  }

  /** The port of the primary, as the Sentinels have it. */
  async primaryPort(): Promise<number> {
    const [, port] = await this.#ask('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'pilum');
    return Number(port);
  }

  /** Sends a signal to the server at a port. */
  signal(port: number, signal: NodeJS.Signals): void {
    this.#servers.find((server) => server.port === port)?.child.kill(signal);
  }

  /** Starts a server again that was killed; it finds itself where it was, until the Sentinels have told it what it is now. */
  async restart(port: number): Promise<void> {
    const server = this.#servers.find((one) => one.port === port);
    if (server === undefined) throw new Error(`no server has the port ${port}`);
    if (server.child.exitCode === null && server.child.signalCode === null) await once(server.child, 'exit');
    server.child = launchServer(server.directory, port, null);
    await waitFor(() => isUp(port), { what: 'a Redis that answers' });
  }

  async role(port: number): Promise<string> {
    return /role:(\w+)/.exec(await infoOf({ port }, 'replication'))?.[1] ?? '';
  }

  async close(): Promise<void> {
    for (const { child } of [...this.#sentinels, ...this.#servers]) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  }

  async #ask(...command: [string, ...string[]]): Promise<string[]> {
    return await withClient(this.#sentinels[0]?.port ?? 0, SENTINEL_PASSWORD, async (redis) => {
      return (await redis.call(...command)) as string[];
    });
  }
}

async function startServer(primaryPort: number | null): Promise<Server> {
  const port = await freePort();
  const directory = makeTemporaryDirectory();
  const server = { port, directory, child: launchServer(directory, port, primaryPort) };
  await waitFor(() => isUp(port), { what: 'a Redis that answers' });
  return server;
}

function launchServer(directory: string, port: number, primaryPort: number | null): ChildProcess {
  const settings: Record<string, string> = {
    port: String(port),
    bind: HOST,
    dir: directory,
    save: '',
    appendonly: 'yes',
    requirepass: PASSWORD,
    masterauth: PASSWORD,
    'maxmemory-policy': 'noeviction',
    'repl-diskless-sync-delay': '0',
    ...(primaryPort === null ? {} : { replicaof: `${HOST} ${primaryPort}` }),
  };
  return launch(
    'redis-server',
    Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
  );
}

async function startSentinel(primaryPort: number): Promise<Server> {
  const port = await freePort();
  const directory = makeTemporaryDirectory();
  const file = join(directory, 'sentinel.conf');
  const lines = [
    `port ${port}`,
    `bind ${HOST}`,
    `dir ${directory}`,
    `requirepass ${SENTINEL_PASSWORD}`,
    `sentinel sentinel-pass ${SENTINEL_PASSWORD}`,
    `sentinel monitor pilum ${HOST} ${primaryPort} 2`,
    `sentinel auth-pass pilum ${PASSWORD}`,
    'sentinel down-after-milliseconds pilum 1000',
    'sentinel failover-timeout pilum 5000',
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  const child = launch('redis-server', [file, '--sentinel']);
  await waitFor(() => withClient(port, SENTINEL_PASSWORD, async (redis) => (await redis.ping()) === 'PONG'), {
    what: 'a Sentinel that answers',
  });
  return { port, directory, child };
}

const isUp = (port: number) => withClient(port, PASSWORD, async (redis) => (await redis.ping()) === 'PONG');

const infoOf = ({ port }: { readonly port: number }, section: string) =>
  withClient(port, PASSWORD, (redis) => redis.info(section));

async function withClient<T>(port: number, password: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis({ host: HOST, port, password, retryStrategy: () => null, maxRetriesPerRequest: 0 });
  redis.on('error', () => undefined);
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}
