import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../support/free-port.ts';
import { makeTemporaryDirectory } from '../../support/temporary-directory.ts';
import { registryCertificate } from './registry-certificate.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../../..');
const WASMTIME = 'packages/wasmtime/build/wasmtime.node';

/** Whether the images of these tests have wasmtime: it takes a Rust that has made it. */
export const HAS_WASMTIME = existsSync(join(ROOT, WASMTIME));

/** How a command of a test ended. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One container of a project. */
export interface Container {
  readonly id: string;
  readonly name: string;
  readonly service: string;
  readonly hostname: string;
  /** On this machine; 0 where it does not run. */
  readonly pid: number;
  readonly address: string;
  readonly published: readonly string[];
}

/** A copy of the tree, and a project of Compose in it that shares nothing with others on this Engine but the image. */
export class ComposeProject {
  readonly directory: string;
  readonly name: string;
  readonly port: number;
  readonly key = randomBytes(24).toString('hex');
  readonly env: Readonly<Record<string, string | undefined>>;

  private constructor(directory: string, port: number, certificate: string | null, env: Record<string, string>) {
    this.directory = directory;
    this.port = port;
    this.name = `pilum-test-${randomBytes(4).toString('hex')}`;
    const inherited = Object.entries(process.env).filter(([name]) => !/^(PILUM_|COMPOSE_|CONTAINER_)/.test(name));
    this.env = {
      ...Object.fromEntries(inherited),
      COMPOSE_PROJECT_NAME: this.name,
      // Everybody's builder. The other one is not on every machine.
      DOCKER_BUILDKIT: '0',
      CONTAINER_IMAGE: 'pilum:test',
      CONTAINER_BUILD_NETWORK: 'host',
      ...(certificate === null ? {} : { npm_config_ca: certificate }),
      PILUM_API_KEY: this.key,
      PILUM_PORT: String(port),
      ...env,
    };
  }

  /** @param env settings of the project, as its operator exports them */
  static async make(env: Record<string, string>): Promise<ComposeProject> {
    const directory = makeTemporaryDirectory();
    // What a clone has, and what is about to be committed.
    const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: ROOT,
    });
    for (const path of stdout.split('\0').filter(Boolean)) {
      cpSync(join(ROOT, path), join(directory, path), { verbatimSymlinks: true, force: true });
    }
    // Made before the image, where it was: the build of the image would take minutes for it.
    if (HAS_WASMTIME) cpSync(join(ROOT, WASMTIME), join(directory, WASMTIME));
    // As one who keeps to himself what he clones.
    await run('chmod', ['-R', 'go=', 'apps', 'packages', 'containers/pilum', 'containers/health.mjs'], {
      cwd: directory,
    });
    const settings = HAS_WASMTIME ? env : { CONTAINER_WASMTIME: 'none', ...env };
    return new ComposeProject(directory, await freePort(), await registryCertificate(), settings);
  }

  /** Runs lines of the docs, or of a test, in the tree; for the port it stands for the one in the docs. */
  async type(lines: string, env: Record<string, string | undefined> = {}): Promise<Ran> {
    const script = lines.replaceAll('127.0.0.1:8080', `127.0.0.1:${this.port}`);
    const options = { cwd: this.directory, env: { ...this.env, ...env }, maxBuffer: 64 * 1024 * 1024 };
    try {
      return { code: 0, ...(await run('bash', ['-euc', script], options)) };
    } catch (error) {
      const { code, stdout, stderr } = error as Error & Ran;
      return { code, stdout, stderr };
    }
  }

  /** @throws Error with what it has printed, where it fails */
  async must(lines: string, env: Record<string, string | undefined> = {}): Promise<string> {
    const { code, stdout, stderr } = await this.type(lines, env);
    if (code !== 0) throw new Error(`${lines} ended with ${code}:\n${stdout.slice(-4000)}\n${stderr.slice(-4000)}`);
    return stdout;
  }

  /** Those that there are, also where they do not run. */
  async containers(service?: string): Promise<Container[]> {
    const filters = [`label=com.docker.compose.project=${this.name}`];
    if (service !== undefined) filters.push(`label=com.docker.compose.service=${service}`);
    const listed = await this.must(`docker ps -aq --no-trunc ${filters.map((one) => `--filter ${one}`).join(' ')}`);
    const ids = listed.split('\n').filter(Boolean);
    if (ids.length === 0) return [];
    // biome-ignore lint/suspicious/noExplicitAny: the Engine's own shape
    const all = JSON.parse(await this.must(`docker inspect ${ids.join(' ')}`)) as any[];
    return all.map(({ Id, Name, Config, State, NetworkSettings }) => ({
      id: Id,
      name: Name.slice(1),
      service: Config.Labels['com.docker.compose.service'],
      hostname: Config.Hostname,
      pid: State.Pid,
      address: NetworkSettings.Networks[`${this.name}_default`]?.IPAddress ?? '',
      published: Object.values(NetworkSettings.Ports as Record<string, { HostIp: string; HostPort: string }[] | null>)
        .flatMap((bindings) => bindings ?? [])
        .map(({ HostIp, HostPort }) => `${HostIp}:${HostPort}`),
    }));
  }

  /** A call with the key. */
  async call(method: string, path: string, body?: unknown): Promise<{ status: number; text: string }> {
    const answer = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, text: await answer.text() };
  }

  /** What all containers have printed lately, for a test that fails. */
  async logs(): Promise<string> {
    return (await this.type('docker-compose logs --no-color --tail 40')).stdout;
  }

  /** Removes all that it has started, with its volumes. The image stays, for the next build to be quick. */
  async close(): Promise<void> {
    await this.type('docker-compose down --volumes --remove-orphans --timeout 5');
    rmSync(this.directory, { recursive: true, force: true });
  }
}
