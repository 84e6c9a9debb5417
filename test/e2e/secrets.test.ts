import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setInterval as every } from 'node:timers/promises';
import { connect } from '@pilum/core/redis/connect.ts';
import { SecretKeys } from '@pilum/core/secrets/secret-keys.ts';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { engine, IMAGES, makeImage, removeMadeImages, whyNoEngine } from '../support/docker.ts';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';
import { buildModules, modulesMissing } from '../support/wasm-modules.ts';

const noEngine = await whyNoEngine();
const noModules = await modulesMissing();

const sha = (text: string | Buffer) => createHash('sha256').update(text).digest('hex');

/** A handler that says what it has by hashes, since results may say everything. */
const HANDLER = `
  import { createHash } from 'node:crypto';
  import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
  const sha = (text) => createHash('sha256').update(text).digest('hex');
  export default (event, context) => {
    const password = process.env.DB_PASSWORD;
    if (event.print) {
      console.log('the password is ' + password);
      console.error(Buffer.from(password).toString('base64'));
      context.log('warn', 'connecting', { url: 'postgres://me:' + encodeURIComponent(password) + '@db' });
    }
    if (event.fail) throw new Error('no access with ' + password);
    if (event.crash) { console.error('last words ' + password); process.exit(3); }
    const path = '/run/secrets/tls.pem';
    const file = existsSync(path) ? { sha: sha(readFileSync(path)), mode: statSync(path).mode & 0o777, isMine: statSync(path).uid === process.getuid() } : null;
    let canWrite = true;
    try { writeFileSync(file === null ? '/run/secrets' : '/run/secrets/other', 'x'); } catch { canWrite = false; }
    return { password: password === undefined ? null : sha(password), file, canWrite };
  };`;
const PYTHON = `
import hashlib, os
def handler(event, context):
    print("the password is " + os.environ["DB_PASSWORD"])
    return hashlib.sha256(os.environ["DB_PASSWORD"].encode()).hexdigest()
`;
const SECRETS = { DB_PASSWORD: { name: 'db-password' } };
const FILE = { 'tls.pem': { name: 'tls', as: 'file' } };
const SERVER = `
  import { createHash } from 'node:crypto';
  import { readFileSync } from 'node:fs';
  import { createServer } from 'node:http';
  const sha = (text) => createHash('sha256').update(text).digest('hex');
  createServer((_, answer) => {
    console.log('the password is ' + process.env.DB_PASSWORD);
    answer.setHeader('content-type', 'text/plain');
    answer.end(sha(process.env.DB_PASSWORD) + ' ' + sha(readFileSync('/run/secrets/tls.pem')));
  }).listen(process.env.PORT);`;

/** Tells for a text whether it holds one of these, in any usual form. */
function finder(...marks: (string | Buffer)[]): (text: string) => boolean {
  const forms = marks.flatMap((mark) => {
    const bytes = Buffer.from(mark);
    return [bytes.toString('utf8'), bytes.toString('base64').replace(/=+$/, ''), bytes.toString('hex')];
  });
  return (text) => forms.some((form) => text.includes(form));
}

const keyFile = (...keys: string[]) => {
  const path = join(makeTemporaryDirectory(), 'keys');
  writeFileSync(path, keys.join('\n'), { mode: 0o600 });
  return path;
};

const setter = (pilum: TestPilum) => async (name: string, value: string | Buffer) => {
  const body = typeof value === 'string' ? { value } : { base64: value.toString('base64') };
  const answer = await pilum.call('PUT', `/v1/secrets/${name}`, { body });
  expect(answer.status, answer.text).toBeLessThan(202);
  return answer.json.version as number;
};
const logOf = async (pilum: TestPilum, taskId: string) => (await pilum.call('GET', `/v1/tasks/${taskId}/logs`)).text;

describe('secrets of functions', () => {
  const password = `mark-${randomUUID()} "quoted"`;
  const tls = randomBytes(3000);
  const key = SecretKeys.generate();
  let pilum: TestPilum;
  const kept = keep();
  const set = (name: string, value: string | Buffer) => setter(pilum)(name, value);
  beforeAll(async () => {
    kept.add(null, removeMadeImages);
    pilum = kept.add(await startPilum({ env: { PILUM_SECRETS_KEY_FILE: keyFile(key), PILUM_DEPLOY_CHECK: 'true' } }));
    await set('db-password', password);
    await set('tls', tls);
  });

  it('are variables and read-only files of a handler, cold, from a prewarmed sandbox and warm', async () => {
    await pilum.deploy('handler', { code: { inline: HANDLER }, secrets: { ...SECRETS, ...FILE } });
    const expected = { password: sha(password), file: { sha: sha(tls), mode: 0o400, isMine: true }, canWrite: false };
    for (let i = 0; i < 2; i++) expect((await pilum.invoke('handler', {})).body).toMatchObject({ result: expected });
    await pilum.deploy('variable', { code: { inline: HANDLER }, secrets: SECRETS });
    expect((await pilum.invoke('variable', {})).body.result).toEqual({ ...expected, file: null });
    await pilum.deploy('none', { code: { inline: HANDLER } });
    expect((await pilum.invoke('none', {})).body.result).toEqual({ password: null, file: null, canWrite: false });
  });

  it('are variables of Python, of commands and of servers', async () => {
    await pilum.deploy('python', { language: 'python', code: { inline: PYTHON }, secrets: SECRETS });
    expect((await pilum.invoke('python', {})).body.result).toBe(sha(password));
    const command = [
      'sh',
      '-c',
      'printf %s "$DB_PASSWORD" | sha256sum; sha256sum </run/secrets/tls.pem; stat -c %a /run/secrets/tls.pem',
    ];
    await pilum.deploy('command', { command, secrets: { ...SECRETS, ...FILE } });
    expect((await pilum.invoke('command', {})).body.result).toBe(`${sha(password)}  -\n${sha(tls)}  -\n400\n`);
    await pilum.deploy('server', {
      protocol: 'http',
      code: { inline: SERVER },
      entry: 'server.mjs',
      command: ['node', 'server.mjs'],
      secrets: { ...SECRETS, ...FILE },
    });
    const answer = await pilum.invoke('server', {});
    expect(answer.body.result, JSON.stringify(answer.body)).toBe(`${sha(password)} ${sha(tls)}`);
    expect(await logOf(pilum, answer.body.taskId)).toContain('the password is [secret db-password]');
  });

  it('are masked in logs and errors, and in what an instance says last', async () => {
    await pilum.deploy('prints', { code: { inline: HANDLER }, secrets: SECRETS });
    const shows = finder(password, encodeURIComponent(password));
    for (const event of [{ print: true }, { print: true, fail: true }, { crash: true }]) {
      const { body } = await pilum.invoke('prints', event);
      const log = await logOf(pilum, body.taskId);
      expect(shows(JSON.stringify(body) + log), JSON.stringify(body) + log).toBe(false);
      expect(JSON.stringify(body) + log).toContain('[secret db-password]');
    }
    const failing = `console.log(process.env.DB_PASSWORD); throw new Error('with ' + process.env.DB_PASSWORD)`;
    const refused = await pilum.call('PUT', '/v1/artifacts/fails-to-load', {
      body: { runtime: 'process', code: { inline: failing }, secrets: SECRETS },
    });
    expect([refused.status, refused.json.error.code]).toEqual([422, 'CODE_DOES_NOT_LOAD']);
    expect(refused.text).toContain('with [secret db-password]');
    expect(shows(refused.text + (await pilum.call('GET', '/v1/artifacts/fails-to-load')).text)).toBe(false);
  });

  it('reach new instances when they change, and old ones are stopped', async () => {
    await set('changing', 'first value');
    await pilum.deploy('changing', {
      code: { inline: HANDLER },
      secrets: { DB_PASSWORD: { name: 'changing' } },
      pool: { min: 1 },
    });
    const { body: before } = await pilum.invoke('changing', {});
    expect(before.result).toMatchObject({ password: sha('first value') });
    const version = await set('changing', 'second value');
    await waitFor(
      async () => {
        const { json } = await pilum.call('GET', '/v1/instances');
        const mine = json.instances.filter(({ artifactId }: { artifactId: string }) => artifactId === 'changing');
        return (
          mine.length > 0 &&
          mine.every((one: { secrets: object }) => JSON.stringify(one.secrets) === `{"changing":${version}}`)
        );
      },
      { what: 'instances with the changed secret alone' },
    );
    const { body: after } = await pilum.invoke('changing', {});
    expect(after.result).toMatchObject({ password: sha('second value') });
    expect(after.instanceId).not.toBe(before.instanceId);
    // One that has leaked is taken back, and nothing that has it goes on.
    const refused = await pilum.call('DELETE', '/v1/secrets/changing');
    expect([refused.status, refused.json.error.code, refused.json.error.details.artifacts]).toEqual([
      409,
      'SECRET_IN_USE',
      ['changing'],
    ]);
    expect((await pilum.call('DELETE', '/v1/secrets/changing?force=true')).status).toBe(204);
    await waitFor(async () => (await pilum.invoke('changing', {})).body.error?.code === 'SECRET_NOT_FOUND', {
      what: 'a refused start',
    });
  });

  it('are nowhere but in the function: not in Redis, logs, answers, arguments or on the disk', async () => {
    const mark = `leak-${randomBytes(12).toString('hex')}`;
    const shows = finder(mark, key);
    const found = new Set<string>();
    const monitored = connect({ url: pilum.redis.url, name: 'test' }, () => undefined);
    const monitor = await monitored.monitor();
    onTestFinished(() => {
      monitor.disconnect();
      monitored.disconnect();
    });
    monitor.on('monitor', (_at: string, args: string[]) => {
      if (shows(args.join(' '))) found.add(`Redis: ${args.slice(0, 3)}`);
    });
    const watching = new AbortController();
    const watched = (async () => {
      for await (const _ of every(2, undefined, { signal: watching.signal })) lookAtProcesses(shows, found, pilum);
    })().catch(() => undefined);
    await set('leak', mark);
    const secrets = { DB_PASSWORD: { name: 'leak' }, 'tls.pem': { name: 'leak', as: 'file' } };
    await pilum.deploy('leak-handler', { code: { inline: HANDLER }, secrets });
    await pilum.deploy('leak-prewarmed', { code: { inline: HANDLER }, secrets: { DB_PASSWORD: { name: 'leak' } } });
    await pilum.deploy('leak-python', {
      language: 'python',
      code: { inline: PYTHON },
      secrets: { DB_PASSWORD: { name: 'leak' } },
    });
    await pilum.deploy('leak-command', {
      command: ['sh', '-c', 'sleep 0.1; echo "$DB_PASSWORD" >&2; exit 3'],
      secrets,
    });
    const taskIds: string[] = [];
    for (const id of ['leak-handler', 'leak-prewarmed', 'leak-python', 'leak-command']) {
      for (const event of [{ print: true }, { fail: true }, { crash: true }]) {
        taskIds.push((await pilum.invoke(id, event)).body.taskId);
      }
      const { json } = await pilum.call('POST', `/v1/artifacts/${id}/invoke?mode=async`, { body: { print: true } });
      taskIds.push(json.taskId);
      await pilum.call('GET', `/v1/tasks/${json.taskId}?wait=20s`);
    }
    const bad = await pilum.call('PUT', '/v1/secrets/leak', {
      body: `{"value": "${mark}", }`,
      headers: { 'content-type': 'application/json' },
    });
    const long = await pilum.call('PUT', '/v1/secrets/leak', { body: { value: mark.repeat(3000), base64: mark } });
    expect([bad.status, long.status]).toEqual([400, 400]);
    for (const { text } of [bad, long]) if (shows(text)) found.add(text);
    watching.abort();
    await watched;

    // Every route that reads something, for everything that there is.
    const { json: api } = await pilum.call('GET', '/openapi.json');
    const reading = Object.entries(api.paths as Record<string, object>).filter(([, methods]) => 'get' in methods);
    expect(reading.length).toBeGreaterThan(12);
    const { json: artifact } = await pilum.call('GET', '/v1/artifacts/leak-handler');
    const paths = reading.flatMap(([path]) => taskIds.map((taskId) => path.replace('{taskId}', taskId)));
    paths.push('/admin/queues/api/queues?page=1', '/admin/queues', '/openapi.json', '/docs');
    for (const id of ['leak-handler', 'leak-prewarmed', 'leak-python', 'leak-command'])
      paths.push(`/admin/queues/api/queues?activeQueue=${id}&status=failed`);
    for (const path of new Set(paths)) {
      const filled = path.replace(/\{id\}/, 'leak-handler').replace('{version}', String(artifact.currentVersion));
      const { text, headers } = await pilum.call('GET', filled);
      if (shows(text + JSON.stringify([...headers]))) found.add(`GET ${filled}`);
    }
    for (const [name, part] of Object.entries({ api: pilum.api, worker: pilum.workers[0]! })) {
      if (shows(part.output())) found.add(`the log of ${name}`);
    }
    for (const text of await everythingIn(pilum)) if (shows(text)) found.add(`Redis has ${text.slice(0, 100)}`);
    for (const path of globSync('**', { cwd: pilum.dataDirectory, withFileTypes: true })) {
      const file = join(path.parentPath, path.name);
      if (path.isFile() && shows(readFileSync(file, 'latin1'))) found.add(`disk: ${file}`);
    }
    expect([...found]).toEqual([]);
    // The function itself may say what it likes.
    await pilum.deploy('says', {
      code: { inline: 'export default () => process.env.X' },
      secrets: { X: { name: 'leak' } },
    });
    expect((await pilum.invoke('says', {})).body.result).toBe(mark);
  });

  describe.skipIf(noModules !== null)('of WebAssembly', () => {
    it('are variables of a module, and are refused as files', async () => {
      const modules = makeTemporaryDirectory();
      await buildModules(modules);
      const bytes = readFileSync(join(modules, 'about.wasm'));
      const digest = `sha256:${sha(bytes)}`;
      await pilum.call('PUT', `/v1/blobs/${digest}`, {
        body: bytes,
        headers: { 'content-type': 'application/octet-stream' },
      });
      await pilum.deploy('module', { runtime: 'wasm', code: { digest }, secrets: SECRETS });
      expect(JSON.stringify((await pilum.invoke('module', {})).body.result)).toContain(
        JSON.stringify(password).slice(1, -1),
      );
      const { status, json } = await pilum.call('PUT', '/v1/artifacts/module', {
        body: { runtime: 'wasm', code: { digest }, secrets: FILE },
      });
      expect([status, json.error.message]).toEqual([
        400,
        expect.stringContaining('a module has its secrets as variables'),
      ]);
    });
  });

  describe.skipIf(noEngine !== null)('in containers', () => {
    const deploy = async (id: string, spec: Record<string, unknown>) =>
      await pilum.deploy(id, { runtime: 'docker', secrets: { ...SECRETS, ...FILE }, ...spec });
    /** What the Engine says of the containers of an artifact. */
    const inspected = async (id: string) => {
      const list = await engine.listContainers({ all: true, filters: { name: [`pilum-${id}-`] } });
      return JSON.stringify(await Promise.all(list.map(({ Id }) => engine.getContainer(Id).inspect())));
    };
    const shows = finder(password, tls);

    it('are variables and files of a handler', async () => {
      await deploy('docker-handler', { code: { inline: HANDLER } });
      const { body } = await pilum.invoke('docker-handler', { print: true });
      expect(body, JSON.stringify(body)).toMatchObject({
        result: { password: sha(password), file: { sha: sha(tls), mode: 0o400, isMine: true }, canWrite: false },
      });
      const shown = await inspected('docker-handler');
      expect([shown.includes('/run/secrets'), shows(shown)]).toEqual([true, false]);
    });

    it('are variables and files of a server and of a command, which the Engine does not know', async () => {
      const tag = `pilum-e2e-${randomUUID()}:1`;
      await makeImage(tag, IMAGES.node, [
        'ENV GREETING=hello',
        'CMD ["node", "-e", "require(\\"http\\").createServer((_, answer) => answer.end(process.env.DB_PASSWORD.length + process.env.GREETING)).listen(process.env.PORT)"]',
      ]);
      await deploy('docker-server', { protocol: 'http', code: { image: tag } });
      const server = await pilum.invoke('docker-server', {});
      const said = Buffer.from(`${password.length}hello`).toString('base64');
      expect(server.body.result, JSON.stringify(server.body)).toEqual({ base64: said });
      expect(shows(await inspected('docker-server'))).toBe(false);
      const command = ['sh', '-c', 'printf %s "$DB_PASSWORD" | sha256sum; sha256sum </run/secrets/tls.pem; sleep 1'];
      await deploy('docker-command', { code: { image: IMAGES.busybox }, command });
      const [ran, shown] = await Promise.all([
        pilum.invoke('docker-command', {}),
        waitFor(
          async () => {
            const text = await inspected('docker-command');
            return text.includes('/run/secrets') ? text : null;
          },
          { what: 'the container of the command' },
        ),
      ]);
      expect(ran.body.result, JSON.stringify(ran.body)).toBe(`${sha(password)}  -\n${sha(tls)}  -\n`);
      expect(shows(shown)).toBe(false);
    });

    it('leave memory with their container', async () => {
      await waitFor(() => globSync(`/dev/shm/pilum-*/${pilum.workers[0]!.pid}-*`).length > 0, {
        what: 'the secrets of a handler',
      });
      for (const id of ['docker-handler', 'docker-server', 'docker-command'])
        await pilum.call('DELETE', `/v1/artifacts/${id}`);
      const pid = String(pilum.workers[0]!.pid);
      await waitFor(
        async () => {
          const { json } = await pilum.call('GET', '/v1/instances');
          for (const { instanceId, artifactId } of json.instances) {
            if (artifactId.startsWith('docker-')) await pilum.call('DELETE', `/v1/instances/${instanceId}`);
          }
          return globSync(`/dev/shm/pilum-*/${pid}-*`).length === 0;
        },
        { what: 'no secrets in memory', everyMs: 200 },
      );
    });
  });
});

describe('keys of the operator', () => {
  it('rotate without a restart', async () => {
    const kept: (() => Promise<void>)[] = [];
    onTestFinished(async () => {
      for (const close of kept) await close();
    });
    const [old, fresh] = [SecretKeys.generate(), SecretKeys.generate()];
    const path = keyFile(old);
    const pilum = await startPilum({ env: { PILUM_SECRETS_KEY_FILE: path } });
    kept.push(() => pilum.close());
    const set = setter(pilum);
    const call = async () => (await pilum.invoke('f', {})).body;
    await set('a', 'value of a');
    await pilum.deploy('f', {
      code: { inline: HANDLER },
      secrets: { DB_PASSWORD: { name: 'a' } },
      pool: { recycleAfterTasks: 1 },
    });
    expect((await call()).result).toMatchObject({ password: sha('value of a') });
    writeFileSync(path, `${fresh}\n${old}\n`);
    expect((await call()).result).toMatchObject({ password: sha('value of a') });
    await set('b', 'value of b');
    const idOf = (key: string) => SecretKeys.parse(key, 'a test').firstId;
    const ids = async () =>
      (await pilum.call('GET', '/v1/secrets')).json.secrets.map((one: { keyId: string }) => one.keyId);
    expect(await ids()).toEqual([idOf(old), idOf(fresh)]);
    // A worker that only has another key says so at its start and in the error, and runs nothing with a guess.
    writeFileSync(path, `${fresh}\n`);
    const { error } = await call();
    expect([error?.code, error?.message]).toEqual(['SECRETS_UNAVAILABLE', expect.stringContaining(idOf(old))]);
    const refused = await pilum.call('PUT', '/v1/artifacts/g', {
      body: { runtime: 'process', code: { inline: HANDLER }, secrets: { DB_PASSWORD: { name: 'a' } } },
    });
    expect([refused.status, refused.json.error.code]).toEqual([503, 'SECRETS_UNAVAILABLE']);
    const late = await pilum.addWorker();
    await waitFor(() => late.output().includes(idOf(old)), { what: 'a word on the missing key' });
    expect(late.output()).not.toContain(fresh);
  });

  it('are missed by name where there are none, and versions with secrets are left to workers that have some', async () => {
    const pilum = await startPilum();
    onTestFinished(() => pilum.close());
    const refused = await pilum.call('PUT', '/v1/secrets/a', { body: { value: 'x' } });
    expect([refused.status, refused.json.error.code]).toEqual([503, 'SECRETS_UNAVAILABLE']);
    expect(refused.json.error.hint).toContain('PILUM_SECRETS_KEY_FILE');
    expect((await pilum.call('GET', '/v1/secrets')).json).toEqual({ secrets: [] });

    const key = SecretKeys.generate();
    const both = await startPilum({ workers: 0, env: { PILUM_SECRETS_KEY: key } });
    onTestFinished(() => both.close());
    await both.addWorker({ PILUM_SECRETS_KEY: '' });
    await setter(both)('a', 'value of a');
    await both.deploy('f', { code: { inline: HANDLER }, secrets: { DB_PASSWORD: { name: 'a' } } });
    const { body } = await both.invoke('f', {});
    expect([body.error?.code ?? (body as { code?: string }).code, JSON.stringify(body)]).toEqual([
      'NO_WORKER',
      expect.stringContaining('has a key for secrets'),
    ]);
    await both.addWorker();
    const done = await waitFor(
      async () => {
        const answer = await both.invoke('f', {});
        return answer.status === 200 ? answer.body : null;
      },
      { what: 'a call on the worker with a key' },
    );
    expect(done).toMatchObject({ workerId: 'worker-2', result: { password: sha('value of a') } });
    const { json } = await both.call('GET', '/v1/workers');
    expect(json.workers.map((one: { secretKeys: string[] }) => one.secretKeys.length).sort()).toEqual([0, 1]);
    expect(JSON.stringify(json)).not.toContain(key);
  });
});

/** Looks at the arguments of every process of the machine, and at the environment of Pilum's own. */
function lookAtProcesses(shows: (text: string) => boolean, found: Set<string>, { api, workers }: TestPilum): void {
  const read = (path: string) => {
    try {
      return readFileSync(path, 'latin1');
    } catch {
      return '';
    }
  };
  for (const path of globSync('/proc/[0-9]*/cmdline')) if (shows(read(path))) found.add(`arguments: ${read(path)}`);
  for (const { pid } of [api, ...workers]) if (shows(read(`/proc/${pid}/environ`))) found.add(`environment of ${pid}`);
}

/** Everything that Redis has, key by key. */
async function everythingIn(pilum: TestPilum): Promise<string[]> {
  const redis = connect({ url: pilum.redis.url, name: 'test' }, () => undefined);
  const texts: string[] = [];
  for (const name of await redis.keys('*')) {
    const type = await redis.type(name);
    const value =
      type === 'string'
        ? await redis.get(name)
        : type === 'hash'
          ? await redis.hgetall(name)
          : type === 'list'
            ? await redis.lrange(name, '0', '-1')
            : type === 'set'
              ? await redis.smembers(name)
              : type === 'zset'
                ? await redis.zrange(name, '0', '-1')
                : await redis.xrange(name, '-', '+');
    texts.push(
      `${name} ${
        typeof value === 'string'
          ? value
          : Object.entries(value ?? {})
              .flat(2)
              .map(String)
              .join(' ')
      }`,
    );
  }
  redis.disconnect();
  expect(texts.length).toBeGreaterThan(20);
  return texts;
}
