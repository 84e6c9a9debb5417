// @needs postgres
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, globSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { launch } from './launch.ts';
import { makeTemporaryDirectory } from './temporary-directory.ts';
import { waitFor } from './wait-for.ts';

/** Where Debian puts its programs, which are not on PATH. */
const DEBIAN = '/usr/lib/postgresql/*/bin';
/** It refuses to run as root: nobody is as good as its own user. */
const NOBODY = 65_534;

export interface TestPostgres {
  readonly port: number;
  readonly user: string;
  readonly password: string;
  close(): Promise<void>;
}

/** Says why there can be no PostgreSQL here, or no driver of it for Python; null where there can. */
export function postgresMissing(): string | null {
  if (spawnSync(program('postgres'), ['--version']).status !== 0) return 'PostgreSQL is not installed';
  const driver = spawnSync('/usr/bin/python3', ['-c', 'import psycopg2']);
  return driver.status === 0 ? null : 'psycopg2 is not installed';
}

/** Starts a real PostgreSQL of its own that listens at an address. */
export async function startPostgres(address: string): Promise<TestPostgres> {
  const directory = makeTemporaryDirectory();
  const port = await freePort();
  const [user, password] = ['tester', 'a password of the tests'];
  const passwordFile = join(directory, 'password');
  writeFileSync(passwordFile, password);
  const isRoot = process.getuid?.() === 0;
  const as = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
  if (isRoot) for (const path of [directory, passwordFile]) chownSync(path, NOBODY, NOBODY);
  else chmodSync(directory, 0o700);
  const data = join(directory, 'data');
  const rights = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`, `--username=${user}`];
  execFileSync(program('initdb'), ['-D', data, '--no-sync', ...rights], { ...as, cwd: directory, stdio: 'ignore' });
  writeFileSync(join(data, 'pg_hba.conf'), 'host all all all scram-sha-256\n');
  const settings = [`port=${port}`, `listen_addresses=${address}`, `unix_socket_directories=${directory}`, 'fsync=off'];
  const server = launch(program('postgres'), ['-D', data, ...settings.flatMap((setting) => ['-c', setting])], {
    ...as,
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  server.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await waitFor(() => {
    if (server.exitCode !== null) throw new Error(`PostgreSQL has ended: ${said}`);
    return said.includes('database system is ready to accept connections');
  });
  return {
    port,
    user,
    password,
    async close() {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      server.kill('SIGINT');
      await ended;
    },
  };
}

function program(name: string): string {
  const found = globSync(join(DEBIAN, name)).sort().at(-1);
  return found !== undefined && existsSync(found) ? found : name;
}
