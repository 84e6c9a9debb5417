import { once } from 'node:events';
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { configurationRows } from '@pilum/core/config/read-configuration.ts';
import type { WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { ownerIn } from '../../apps/worker/src/ownership/owner.ts';
import { summaryOf } from '../chaos/run/summary.ts';
import { keep } from '../support/kept.ts';
import { endGroup, launch } from '../support/launch.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';
import { ComposeProject, HAS_WASMTIME } from './support/compose-project.ts';
import { blocksOf } from './support/docs.ts';
import { WITHOUT_CONTAINERS } from './support/engine.ts';
import { playOnProject } from './support/play-on-project.ts';

const readme = blocksOf('README.md').filter((block) => /docker-compose|artifacts\/greet/.test(block));
const page = blocksOf('docs/operate/containers.md');
const typed = new Set<string>();

/** The one block of the docs that has this in it. */
function block(part: string): string {
  const found = [...page, ...readme].find((candidate) => candidate.includes(part));
  if (found === undefined) throw new Error(`no page has ${part}`);
  typed.add(found);
  return found;
}

/** The rest of a block whose first line makes a key: the project has one. */
const withKey = (part: string) => block(part).replace(/^export PILUM_API_KEY=.*\n/, '');

const hasEngine = ({ runtimes }: WorkerInfo) => runtimes.some(({ kind, available }) => kind === 'docker' && available);

/** Between two looks of a worker for what dead ones have left. */
const SWEEP_MS = 2000;
const MEGABYTE = 1_000_000;
const MOST_IMAGE_BYTES = 450 * MEGABYTE;
const TAKES_MEMORY = 'export default () => { const kept = []; for (;;) kept.push(Buffer.alloc(1 << 20, 1)); }';

describe.skipIf(WITHOUT_CONTAINERS)('Pilum in containers', () => {
  let project: ComposeProject;
  const workers = async () =>
    (JSON.parse((await project.call('GET', '/v1/workers')).text) as { workers: WorkerInfo[] }).workers;
  const workersAre = (count: number) =>
    waitFor(async () => (await workers()).length === count && (await workers()), {
      what: `${count} live workers`,
      everyMs: 250,
    });

  const kept = keep();
  beforeAll(async () => {
    project = kept.add(
      await ComposeProject.make({
        PILUM_ALLOW_HOST_NETWORK: 'true',
        // Short, so that what is stopped has not finished.
        PILUM_DRAIN_MS: '2000',
        PILUM_TASK_RETENTION_COUNT: '1000000',
        PILUM_PREWARM: '1',
      }),
    );
    await project.must('docker-compose build');
  }, 300_000);

  it('refuses to start without a key, and says what to set', async () => {
    const { code, stderr } = await project.type('docker-compose up', { PILUM_API_KEY: undefined });
    expect(code).not.toBe(0);
    expect(stderr).toContain('PILUM_API_KEY is not set: choose 16 characters or more');
    expect(await project.containers()).toEqual([]);
    const { stdout } = await project.type(block('openssl rand').split('\n')[0]?.concat('; echo $PILUM_API_KEY') ?? '');
    expect(stdout.trim().length).toBeGreaterThanOrEqual(16);
  });

  it('is one small image, of an unprivileged user, that says what it wants to be told', async () => {
    const [image] = JSON.parse(await project.must('docker image inspect $CONTAINER_IMAGE'));
    expect(image.Size).toBeLessThan(MOST_IMAGE_BYTES);
    expect(image.Config.User).toBe('pilum');
    const told = await project.type('docker run --rm $CONTAINER_IMAGE');
    expect(told).toMatchObject({ code: 64, stderr: expect.stringContaining('"api" or "worker"') });
    const inside = 'ls node_modules node_modules/.bin; command -v npm || echo no npm';
    const listed = await project.must(`docker run --rm --entrypoint sh $CONTAINER_IMAGE -c '${inside}'`);
    expect(listed).toContain('no npm');
    for (const name of ['vitest', 'typescript', 'node', 'express', 'fast-check'])
      expect(listed.split('\n')).not.toContain(name);
  });

  it('passes every setting that a part reads', async () => {
    const { code, stdout } = await project.type('docker-compose config');
    expect(code).toBe(0);
    // Where things are in a container is the image's, and a worker's name the container's.
    const ofImage = ['PILUM_HOST', 'PILUM_PORT', 'PILUM_DATA', 'PILUM_PYTHON', 'PILUM_WORKER_ID'];
    for (const part of ['api', 'worker'] as const) {
      const [, service = ''] = new RegExp(`\\n  ${part}:\\n([\\s\\S]*?)(\\n  \\S|\\n\\S)`).exec(stdout) ?? [];
      for (const { variable, parts } of configurationRows()) {
        if (!parts.includes(part) || ofImage.includes(variable)) continue;
        expect(service, `${variable} of ${part}`).toContain(`${variable}:`);
      }
    }
  });

  it('starts as the README says, in the foreground, and stops in good order at Ctrl-C', async () => {
    const up = launch('bash', ['-euc', withKey('docker-compose up --build --scale worker=4')], {
      cwd: project.directory,
      env: project.env,
      stdio: 'ignore',
    });
    const ended = once(up, 'exit');
    await workersAre(4);
    // Ctrl-C goes to all of it.
    endGroup(up, 'SIGINT');
    await ended;
    const states = await project.must(
      `docker inspect --format '{{.State.Status}} {{.State.ExitCode}}' ${(await project.containers())
        .map(({ id }) => id)
        .join(' ')}`,
    );
    expect(states.trim().split('\n')).toEqual(Array(6).fill('exited 0'));
  });

  it('starts as the page says, with workers that have names of their own', async () => {
    await project.must(withKey('up -d --build --scale worker=2'), { PILUM_ALLOW_HOST_NETWORK: 'true' });
    const live = await workersAre(2);
    expect(new Set(live.map(({ workerId }) => workerId)).size).toBe(2);
    for (const { runtimes, capacity } of live) {
      const asInSandbox = {
        available: true,
        isolation: 'sandbox',
        limits: [expect.stringMatching(/^cgroup-v[12]$/), 'rlimits', 'seccomp'],
      };
      const limits = [...asInSandbox.limits, 'relay'];
      expect(runtimes).toContainEqual(expect.objectContaining({ kind: 'process', ...asInSandbox, limits, notes: [] }));
      const engine = expect.stringMatching(HAS_WASMTIME ? /^wasmtime / : /^V8 /i);
      expect(runtimes).toContainEqual(expect.objectContaining({ kind: 'wasm', engine, ...asInSandbox }));
      // It has no Engine, and says so.
      expect(runtimes).toContainEqual(expect.objectContaining({ kind: 'docker', available: false }));
      // Of the container's memory, not of the machine's.
      expect(capacity.memoryMiB).toBe(Math.floor(4096 * 0.8));
    }
    expect(await project.must(block('/v1/workers'))).toContain('"available":true');
  });

  it('runs what the README says', async () => {
    expect(await project.must(block('artifacts/greet'))).toContain('"result":{"hello":"Ada"}');
  });

  it('runs a call that nobody waits for, one in Python, and a program', async () => {
    const deploy = async (id: string, spec: object) =>
      expect((await project.call('PUT', `/v1/artifacts/${id}`, { runtime: 'process', ...spec })).status).toBe(201);
    await deploy('snake', {
      language: 'python',
      code: { inline: 'def handler(event, context):\n    return event["n"] + 1\n' },
    });
    await deploy('sorted', { command: ['sort', '-r'] });
    const accepted = await project.call('POST', '/v1/artifacts/snake/invoke?mode=async', { n: 41 });
    expect(accepted.status).toBe(202);
    const { taskId } = JSON.parse(accepted.text);
    expect(JSON.parse((await project.call('GET', `/v1/tasks/${taskId}?wait=10s`)).text).result).toBe(42);
    const sorted = await project.call('POST', '/v1/artifacts/sorted/invoke', 'a');
    expect(JSON.parse(sorted.text).result).toBe('a');
  });

  it('lets no function make a system call that neither it nor its worker needs', async () => {
    const traces = 'import ctypes\n\ndef handler(event, context):\n    return ctypes.CDLL(None).ptrace(0, 0, 0, 0)\n';
    const spec = { runtime: 'process', language: 'python', code: { inline: traces } };
    expect((await project.call('PUT', '/v1/artifacts/tracer', spec)).status).toBe(201);
    expect(JSON.parse((await project.call('POST', '/v1/artifacts/tracer/invoke', {})).text).result).toBe(-1);
  });

  it('limits the memory of one function, and leaves the others alone', async () => {
    await project.call('PUT', '/v1/artifacts/hungry', {
      runtime: 'process',
      code: { inline: TAKES_MEMORY },
      limits: { memoryMiB: 64 },
    });
    const { status, text } = await project.call('POST', '/v1/artifacts/hungry/invoke', {});
    expect({ status, code: JSON.parse(text).error?.code }).toEqual({ status: 502, code: 'OUT_OF_MEMORY' });
    expect((await workers()).length).toBe(2);
    expect((await project.containers()).filter(({ pid }) => pid === 0)).toEqual([]);
  });

  it('publishes the port of the API on loopback, and nothing else', async () => {
    const containers = await project.containers();
    const published = containers.flatMap(({ service, published }) => published.map((at) => `${service} ${at}`));
    expect(published).toEqual([`api 127.0.0.1:${project.port}`]);
    // Not by the address of its container either, which every program here could connect to.
    const redis = containers.find(({ service }) => service === 'redis');
    const code = await new Promise((resolve) => {
      const socket = connect({ host: redis?.address ?? '', port: 6379 });
      socket.once('connect', () => resolve('connected'));
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    });
    expect(code).toBe('ECONNREFUSED');
    const answer = await fetch(`http://127.0.0.1:${project.port}/v1/artifacts`);
    expect(answer.status).toBe(401);
  });

  it('has no process of a worker or the API with a capability, or as root', async () => {
    for (const { id, service } of await project.containers()) {
      if (service === 'redis') continue;
      const pids = (await project.must(`docker top ${id} -o pid`)).split('\n').slice(1).filter(Boolean);
      expect(pids.length).toBeGreaterThan(0);
      for (const pid of pids) {
        let status: string;
        try {
          status = readFileSync(`/proc/${pid.trim()}/status`, 'utf8');
        } catch {
          continue; // ended
        }
        const lines = Object.fromEntries(status.split('\n').map((line) => line.split(/:\s*/, 2)));
        // A sandbox's uid 1000 is this one as well, outside of it.
        expect(lines.Uid, status).toBe('10001\t10001\t10001\t10001');
        expect(lines).toMatchObject({ NoNewPrivs: '1', Seccomp: '2' });
        // In a user namespace of its own bubblewrap has some, over nothing but that.
        if (!/^(bwrap|true)$/.test(lines.Name)) expect(lines.CapEff, status).toMatch(/^0+$/);
        if (/^(node|tini)$/.test(lines.Name)) expect(lines.CapBnd, status).toMatch(/^0+$/);
      }
    }
  });

  it('is healthy where the API answers', async () => {
    await waitFor(
      async () => {
        const [api] = await project.containers('api');
        return (
          (await project.must(`docker inspect --format '{{.State.Health.Status}}' ${api?.id}`)).trim() === 'healthy'
        );
      },
      { what: 'a healthy API', everyMs: 500 },
    );
    expect(
      (await project.type('docker-compose exec -T -e PILUM_PORT=1 api node /opt/pilum/containers/health.mjs')).code,
    ).toBe(1);
  });

  it('has figures for every panel of its dashboard', async () => {
    const services = await project.must(block('--profile metrics config'));
    expect(services.trim().split('\n').sort()).toEqual(['api', 'grafana', 'prometheus', 'redis', 'worker']);
    const stats = (await project.call('GET', '/metrics')).text;
    const directory = join(project.directory, 'containers');
    const { panels } = JSON.parse(readFileSync(join(directory, 'grafana/dashboards/pilum.json'), 'utf8'));
    for (const { title, targets } of panels as { title: string; targets: { expr: string }[] }[]) {
      for (const { expr } of targets) {
        const names = expr.match(/(pilum|nodejs)_\w+/g) ?? [];
        expect(names.length, title).toBeGreaterThan(0);
        for (const name of names) expect(stats, `${title}: ${name}`).toMatch(new RegExp(`^${name}[ {]`, 'm'));
      }
    }
  });

  it('gives Prometheus the key in a file that only Prometheus can read', async () => {
    // Says what it was given, in the place of the real one.
    const script = '#!/bin/sh\necho "$@"; cat /run/pilum/api-key; ls -l /run/pilum/api-key; env\n';
    writeFileSync(join(project.directory, 'prometheus'), script, { mode: 0o755 });
    const service = { image: 'busybox:1', user: '65534:65534', volumes: ['./prometheus:/bin/prometheus:ro'] };
    writeFileSync(join(project.directory, 'metrics.json'), JSON.stringify({ services: { prometheus: service } }));
    const files = '-f docker-compose.yml -f metrics.json';
    const said = await project.must(`docker-compose ${files} --profile metrics run --rm --no-deps -T prometheus`);
    expect(said).toContain('--config.file=/etc/prometheus/pilum.yml');
    expect(said).toContain(`${project.key}-rw-------`);
    expect(said).not.toContain('PILUM_API_KEY');
  });

  it('can be given the Engine of the machine', async () => {
    const check = block('docker-compose.docker-functions.yml');
    await project.must(check);
    const shared = join(project.directory, 'shared');
    const env = { CONTAINER_SHARED: shared };
    await project.must(check.replace('config --quiet', 'up -d --scale worker=2'), env);
    await workersAre(2);
    const { gid } = statSync('/var/run/docker.sock');
    for (const { pid } of await project.containers('worker')) {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\t10001\t/m);
      expect(status).toMatch(new RegExp(`^Groups:\\s+${gid}\\s*$`, 'm'));
    }

    // They share a directory now, and cannot see each other's processes.
    const slots = () => readdirSync(join(shared, 'cache/blanks')).sort();
    const owners = () => new Set(slots().map((name) => ownerIn(name)?.pidNamespace));
    await waitFor(() => owners().size === 2 && slots().length === 4, {
      what: 'a blank of each for each language',
    });
    const before = slots();
    await sleep(3 * SWEEP_MS);
    expect(slots()).toEqual(before);
    await project.must('docker-compose up -d --scale worker=2');
    await workersAre(2);
  });

  it('loses nothing when a worker is killed and when all are replaced under load', async ({ signal }) => {
    const verdict = await playOnProject(project, { seed: 'containers', tasks: 150, rate: 8, signal }, [
      {
        kind: 'worker-kill',
        target: 'a container',
        do: async (watch) => {
          const [victim] = await project.containers('worker');
          if (victim === undefined) throw new Error('there is no worker');
          watch.expectKill(victim.id);
          await project.must(`docker kill ${victim.id}`);
          await workersAre(1);
          await project.must('docker-compose up -d --no-recreate --scale worker=2');
          await workersAre(2);
        },
      },
      {
        kind: 'rolling-restart',
        target: 'one by one',
        do: async () => {
          const before = new Set((await project.containers('worker')).map(({ id }) => id));
          await project.must(block('containers/replace-workers'));
          const after = await project.containers('worker');
          expect(after.length).toBe(2);
          expect(after.filter(({ id }) => before.has(id))).toEqual([]);
        },
      },
      {
        kind: 'rolling-restart',
        target: 'all at once',
        do: async () => {
          await project.must(block('docker stop -t 30 $old'));
          await workersAre(2);
        },
      },
    ]);
    if (verdict.violations.length > 0) console.log(summaryOf(verdict), await project.logs());
    expect(verdict.violations).toEqual([]);
    expect(verdict.ledger.requests.size).toBeGreaterThanOrEqual(150);
    // What was done was seen: one was killed, and all that were stopped had ended by themselves in time.
    const exits = verdict.ledger.exits.map(({ asked, how }) => `${asked} ${how}`);
    expect(exits.filter((exit) => exit === 'kill SIGKILL').length).toBe(1);
    expect(exits.filter((exit) => exit === 'stop 0').length).toBe(2 + 2 + 2 + 1);
    // It was put to the test: tasks were run again, and given back.
    expect([...verdict.ledger.tasks.values()].flatMap(({ said }) => said).length).toBeGreaterThan(0);
  }, 240_000);

  it('stops no worker for a new one that does not come to life', async () => {
    await project.must('docker-compose up -d --scale worker=2');
    const before = (await workersAre(2)).map(({ workerId }) => workerId).sort();
    const wrong = { PILUM_WORKER_CAPACITY: 'many', REPLACE_START_S: '3' };
    const { code, stderr } = await project.type('containers/replace-workers', wrong);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('does not take tasks') });
    await project.must('docker-compose up -d --no-recreate --scale worker=2 worker');
    expect((await workersAre(2)).map(({ workerId }) => workerId).sort()).toEqual(before);
    expect((await project.containers('worker')).length).toBe(2);
  });

  it('has everything again after it was taken down', async () => {
    const { taskId } = JSON.parse((await project.call('POST', '/v1/artifacts/greet/invoke', { name: 'Bob' })).text);
    await project.must(block('docker-compose down\n'));
    await workersAre(2);
    const { status, text } = await project.call('GET', `/v1/tasks/${taskId}`);
    expect({ status, result: JSON.parse(text).result }).toEqual({ status: 200, result: { hello: 'Bob' } });
  });

  it('has a key for secrets made as the page says', async () => {
    const key = await project.must(`${block('PILUM_SECRETS_KEY')}printf %s "$PILUM_SECRETS_KEY"`);
    expect(Buffer.from(key, 'base64').length).toBe(32);
  });

  it.each([
    ['with Docker’s defaults', 'docker run -d', 'user namespaces', false],
    [
      'without a whole /proc',
      block('--name pilum-rootless').replace(/--security-opt systempaths=unconfined/, ''),
      'systempaths=unconfined',
      false,
    ],
    ['as nobody’s root, without cgroups', block('--name pilum-rootless'), 'no cgroup can be made', true],
  ])(
    'a worker %s says what it goes without',
    async (_how, line, note, available) => {
      const command =
        line === 'docker run -d'
          ? block('--name pilum-rootless').replaceAll(/\s--(security-opt|cap-drop) \S+/g, ' ')
          : line;
      const name = `${project.name}-alone`;
      await project.must('docker-compose stop worker');
      await project.must(command.replace('--name pilum-rootless', `--name ${name}`));
      try {
        const host = (await project.must(`docker inspect --format '{{.Config.Hostname}}' ${name}`)).trim();
        const alone = await waitFor(async () => (await workers()).find((worker) => worker.host === host), {
          what: 'the worker',
          everyMs: 250,
        });
        expect(alone.runtimes[0]).toMatchObject({
          available,
          notes: expect.arrayContaining([expect.stringContaining(note)]),
        });
        expect(await project.must(`docker logs ${name} 2>&1`)).toContain(note);
        const { status, text } = await project.call('POST', '/v1/artifacts/greet/invoke?wait=5s', { name: 'Eve' });
        if (available) expect(JSON.parse(text).result).toEqual({ hello: 'Eve' });
        else
          expect({ status, text }).toMatchObject({
            status: 503,
            text: expect.stringMatching(/NO_WORKER|SANDBOX_UNAVAILABLE/),
          });
      } finally {
        await project.must(`docker rm -f ${name}`);
      }
    },
    60_000,
  );

  it('runs functions that are containers themselves, where it is given the Engine', async () => {
    const shared = makeTemporaryDirectory();
    // Sandboxes and containers of other users find their code in it.
    chmodSync(shared, 0o711);
    const files = '-f docker-compose.yml -f docker-compose.docker-functions.yml';
    await project.must(`docker-compose ${files} up -d --scale worker=2`, { CONTAINER_SHARED: shared });
    await waitFor(async () => (await workers()).filter(hasEngine).length === 2, {
      what: 'two workers with an Engine',
      everyMs: 200,
    });
    const deploy = async (id: string, spec: object) => {
      const { status, text } = await project.call('PUT', `/v1/artifacts/${id}`, { runtime: 'docker', ...spec });
      expect(status, text).toBe(201);
    };
    await deploy('upper', { code: { image: 'busybox:1' }, command: ['tr', 'a-z', 'A-Z'] });
    await deploy('inside', { code: { image: 'node:26-slim', inline: 'export default (e) => ({ got: e.n })' } });
    const upper = await project.call('POST', '/v1/artifacts/upper/invoke', 'shout');
    expect(JSON.parse(upper.text)).toMatchObject({ status: 'completed', result: 'SHOUT' });
    for (const n of [1, 2, 3]) {
      const inside = await project.call('POST', '/v1/artifacts/inside/invoke', { n });
      expect(JSON.parse(inside.text)).toMatchObject({ status: 'completed', result: { got: n } });
    }
    await project.must(`docker-compose ${files} stop worker`, { CONTAINER_SHARED: shared });
    const left = await project.must('docker ps -aq --filter name=^pilum-inside-');
    expect(left.trim()).toBe('');
  });

  it('was typed as all pages say', () => {
    expect([...readme, ...page].filter((one) => !typed.has(one))).toEqual([]);
  });
});
