import { createHash } from 'node:crypto';
import { DEFAULT_SETTINGS } from '@pilum/core/store/artifact-store.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';

let redis: TestRedis;
let api: TestApi;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  api = kept.add(await startApi({ url: redis.url }));
});

const put = (id: string, body: unknown) => api.call('PUT', `/v1/artifacts/${id}`, { body });
const inline = { inline: 'export default () => 1' };

describe('deploying', () => {
  it('answers 201 with the version, all of its defaults filled in', async () => {
    const { status, json } = await put('first', { runtime: 'process', code: inline });
    expect(status).toBe(201);
    expect(json).toMatchObject({
      artifactId: 'first',
      version: 1,
      state: 'ready',
      code: { format: 'file', sizeBytes: 22, fileName: 'index.mjs' },
      spec: {
        protocol: 'handler',
        language: 'node',
        entry: 'index.mjs#default',
        limits: { memoryMiB: 256, network: 'none' },
        retry: { attempts: 1, backoff: { type: 'exponential' } },
      },
    });
    expect(json.spec.code).toBeUndefined();
    expect(json.code.digest).toBe(`sha256:${createHash('sha256').update(inline.inline).digest('hex')}`);
  });

  it('gives no new version for the same content, however it is written', async () => {
    await put('same', { runtime: 'process', code: inline });
    const spelledOut = { code: inline, labels: {}, entry: 'index.mjs', limits: { cpu: 1 }, runtime: 'process' };
    const again = await put('same', spelledOut);
    expect([again.status, again.json.version]).toEqual([200, 1]);
    const other = await put('same', { runtime: 'process', code: inline, limits: { cpu: 2 } });
    expect([other.status, other.json.version]).toEqual([201, 2]);
    const back = await put('same', { runtime: 'process', code: inline });
    expect([back.status, back.json.version]).toEqual([200, 1]);
  });

  it('makes what is deployed last the version that a bare id means, also where that is an earlier one', async () => {
    const called = async () => (await api.call('POST', '/v1/artifacts/turns/invoke?mode=async')).json.version;
    const spec = (word: string) => ({ runtime: 'process', code: { inline: `export default () => '${word}'` } });
    const first = await put('turns', spec('good'));
    expect(first.json.current).toBe(true);
    await put('turns', spec('broken'));
    expect(await called()).toBe(2);
    const again = await put('turns', spec('good'));
    expect([again.status, again.json.version, again.json.current]).toEqual([200, 1, true]);
    expect(await called()).toBe(1);
    expect((await api.call('GET', '/v1/artifacts/turns')).json).toMatchObject({ currentVersion: 1, latestVersion: 2 });
    await put('turns', spec('better'));
    expect(await called()).toBe(3);
    await put('turns', spec('broken'));
    expect(await called()).toBe(2);
    // Where the last one goes, it is the one before it again, and not the one of the highest number.
    await put('turns', spec('good'));
    await api.call('PATCH', '/v1/artifacts/turns/versions/1', { body: { state: 'deprecated' } });
    expect(await called()).toBe(2);
  });

  it('makes a deprecated version ready again where it is deployed again', async () => {
    await put('revived', { runtime: 'process', code: inline });
    await put('revived', { runtime: 'process', code: inline, limits: { cpu: 2 } });
    await api.call('PATCH', '/v1/artifacts/revived/versions/1', { body: { state: 'deprecated' } });
    const again = await put('revived', { runtime: 'process', code: inline });
    expect(again.json).toMatchObject({ version: 1, state: 'ready', current: true });
  });

  it('leaves a bare id to the alias live, and says so', async () => {
    await put('held', { runtime: 'process', code: inline });
    await put('held', { runtime: 'process', code: inline, limits: { cpu: 2 } });
    await api.call('PUT', '/v1/artifacts/held/aliases/live', { body: { version: 2 } });
    const again = await put('held', { runtime: 'process', code: inline });
    expect([again.status, again.json.version, again.json.current]).toEqual([200, 1, false]);
    expect((await api.call('POST', '/v1/artifacts/held/invoke?mode=async')).json.version).toBe(2);
    await api.call('DELETE', '/v1/artifacts/held/aliases/live');
    expect((await api.call('POST', '/v1/artifacts/held/invoke?mode=async')).json.version).toBe(1);
  });

  it('adds a new version for the content of one that failed', async () => {
    await put('failing', { runtime: 'process', code: inline });
    await api.redis.hset('{pilum:default:failing}:version-states', '1', 'failed');
    const again = await put('failing', { runtime: 'process', code: inline });
    expect([again.status, again.json.version, again.json.current]).toEqual([201, 2, true]);
  });

  it('pins the version of a layer that was deployed last', async () => {
    const layer = (word: string) => put('words', { runtime: 'layer', entry: 'word.txt', code: { inline: word } });
    await layer('one');
    await layer('two');
    await layer('one');
    const user = await put('reads', { runtime: 'process', code: inline, dependsOn: ['words'] });
    expect(user.json.spec.dependsOn).toEqual(['words@1']);
  });

  it('reads artifacts whose order of deployment an earlier release has not kept', async () => {
    await put('old', { runtime: 'process', code: inline });
    await put('old', { runtime: 'process', code: inline, limits: { cpu: 2 } });
    await api.redis.del('{pilum:default:old}:deployments');
    expect((await api.call('GET', '/v1/artifacts/old')).json.currentVersion).toBe(2);
    await put('old', { runtime: 'process', code: inline });
    expect((await api.call('GET', '/v1/artifacts/old')).json.currentVersion).toBe(1);
  });

  it('gives one version to two that deploy the same at once', async () => {
    const answers = await Promise.all([1, 2, 3, 4].map(() => put('twins', { runtime: 'process', code: inline })));
    expect(answers.map(({ json }) => json.version)).toEqual([1, 1, 1, 1]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 201]);
    expect((await api.call('GET', '/v1/artifacts/twins')).json.versions).toMatchObject([
      { version: 1, state: 'ready' },
    ]);
  });

  it('finishes what a call that died had begun', async () => {
    await put('halfway', { runtime: 'process', code: inline });
    await api.redis.hset('{pilum:default:halfway}:version-states', '1', 'creating');
    const again = await put('halfway', { runtime: 'process', code: inline });
    expect([again.status, again.json.version, again.json.state]).toEqual([200, 1, 'ready']);
  });

  it('takes language, entry and protocol from each other', async () => {
    const python = await put('python', { runtime: 'process', entry: 'lib/app.py#run', code: inline });
    expect(python.json.spec).toMatchObject({ language: 'python', entry: 'lib/app.py#run', protocol: 'handler' });
    expect(python.json.code.fileName).toBe('lib/app.py');
    const stdio = await put('program', { runtime: 'process', command: ['jq', '.'] });
    expect(stdio.json).toMatchObject({ code: null, spec: { protocol: 'stdio', command: ['jq', '.'] } });
    expect(stdio.json.spec.language).toBeUndefined();
    const script = await put('script', {
      runtime: 'process',
      command: ['sh', 'run.sh'],
      entry: 'run.sh',
      code: inline,
    });
    expect(script.json).toMatchObject({ code: { fileName: 'run.sh' }, spec: { protocol: 'stdio', entry: 'run.sh' } });
  });

  it.each([
    ['no runtime', { code: inline }, '/body', 'lacks "runtime"'],
    ['a wrong type', { runtime: 'process', code: inline, limits: { cpu: '1' } }, '/body/limits/cpu', 'must be number'],
    ['an unknown field', { runtime: 'process', code: inline, memory: 1 }, '/body', 'not known here: "memory"'],
    ['an unknown field inside', { runtime: 'process', code: { ...inline, lang: 1 } }, '/body/code', '"lang"'],
    ['an unknown runtime', { runtime: 'podman', code: inline }, '/body/runtime', 'must be one of "process"'],
    ['an unknown language', { runtime: 'process', code: inline, language: 'ruby' }, '/body/language', '"python"'],
    ['no code', { runtime: 'process' }, '/body/code', 'is missing'],
    ['empty code', { runtime: 'process', code: { inline: '' } }, '/body/code/inline', 'is empty'],
    ['code of nothing', { runtime: 'process', code: {} }, '/body/code', 'needs inline or digest'],
    [
      'code twice',
      { runtime: 'process', code: { ...inline, digest: `sha256:${'a'.repeat(64)}` } },
      '/body/code',
      'both',
    ],
    [
      'a tar inline',
      { runtime: 'process', code: { ...inline, format: 'tar' } },
      '/body/code/format',
      'inline code is a file',
    ],
    [
      'a command for a handler',
      { runtime: 'process', protocol: 'handler', command: ['x'], code: inline },
      '/body/command',
      'stdio',
    ],
    ['stdio without a command', { runtime: 'process', protocol: 'stdio' }, '/body/command', 'is missing'],
    ['stdio with a language', { runtime: 'process', command: ['x'], language: 'node' }, '/body/language', 'handler'],
    ['stdio code without a name', { runtime: 'process', command: ['x'], code: inline }, '/body/entry', 'is missing'],
    [
      'a wrong extension',
      { runtime: 'process', language: 'python', entry: 'a.js', code: inline },
      '/body/entry',
      '.py',
    ],
    ['an entry outside', { runtime: 'process', entry: '../up.js', code: inline }, '/body/entry', 'right form'],
    ['an absolute entry', { runtime: 'process', entry: '/etc/x.js', code: inline }, '/body/entry', 'right form'],
    ['a digest that is none', { runtime: 'process', code: { digest: 'sha256:xyz' } }, '/body/code/digest', 'sha256:'],
    ['an environment name that is none', { runtime: 'process', code: inline, env: { 'A-B': '1' } }, '/body/env', 'A-B'],
    [
      'a number out of range',
      { runtime: 'process', code: inline, timeouts: { runMs: 0 } },
      '/body/timeouts/runMs',
      '>= 1',
    ],
    ['an array', [], '/body', 'must be object'],
    ['null', null, '/body', 'must be object'],
  ])('refuses %s and says where', async (_name, body, where, what) => {
    const { status, json } = await put('refused', body);
    expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    const problem = json.error.details.problems.find((found: { where: string }) => found.where === where);
    expect(problem?.what, JSON.stringify(json)).toContain(what);
    expect((await api.call('GET', '/v1/artifacts/refused')).status).toBe(404);
  });

  it('names every problem at once', async () => {
    const { json } = await put('refused', { runtime: 'process', protocol: 'stdio', language: 'node', code: inline });
    expect(json.error.details.problems.map((problem: { where: string }) => problem.where)).toEqual([
      '/body/command',
      '/body/language',
      '/body/entry',
    ]);
  });

  it.each([
    ['/body/runtime', { runtime: 'kubernetes', code: { image: 'busybox:1' } }],
    ['/body/protocol', { runtime: 'process', protocol: 'lambda', command: ['x'] }],
    ['/body/protocol', { runtime: 'docker', protocol: 'lambda', code: { image: 'busybox:1' } }],
    ['/body/pool/concurrency', { runtime: 'process', code: inline, pool: { concurrency: 2 } }],
  ])('answers 501 for %s, which is not built', async (where, body) => {
    const { status, json } = await put('later', body);
    expect([status, json.error.code]).toEqual([501, 'NOT_IMPLEMENTED']);
    expect(json.error.message).toContain(where);
    expect(json.error.details).toEqual({ where });
  });

  it('refuses variables that would be lost, by name', async () => {
    const refused = async (spec: object) => {
      const { status, json } = await api.call('PUT', '/v1/artifacts/lost', { body: { runtime: 'process', ...spec } });
      return [status, JSON.stringify(json)];
    };
    const [status, text] = await refused({ command: ['env'], env: { PILUM_TASK_ID: 'mine', PILUM_OTHER: 'mine' } });
    expect(status).toBe(400);
    expect(text).toContain('/body/env/PILUM_TASK_ID');
    expect(text).not.toContain('PILUM_OTHER');
    expect((await refused({ code: { inline: '' }, env: { PILUM_CHANNEL: '/tmp' } }))[0]).toBe(400);
  });

  it('takes a server, with a health path and several calls at a time', async () => {
    const http = { healthPath: '/healthz' };
    const server = {
      runtime: 'process',
      protocol: 'http',
      command: ['node', 'a.mjs'],
      http,
      pool: { concurrency: 80 },
    };
    const { status, json } = await put('served', server);
    expect(status).toBe(201);
    expect(json.spec).toMatchObject({ protocol: 'http', http, pool: { concurrency: 80 } });
    for (const [where, body] of [
      ['/body/command', { runtime: 'process', protocol: 'http' }],
      ['/body/http', { runtime: 'process', command: ['cat'], http }],
      ['/body/http/healthPath', { ...server, http: { healthPath: 'no slash' } }],
      ['/body/language', { ...server, language: 'node' }],
    ] as const) {
      const refused = await put('refused', body);
      expect([where, refused.status]).toEqual([where, 400]);
      expect(refused.json.error.details.problems[0].where).toBe(where);
    }
  });

  it.each([
    ['/body/code/image', 'is not for runtime process', { runtime: 'process', code: { image: 'busybox:1' } }],
    ['/body/code/image', 'is missing', { runtime: 'docker', command: ['x'] }],
    ['/body/code', 'has an image only', { runtime: 'docker', protocol: 'handler', code: { image: 'node:26-slim' } }],
    [
      '/body/command',
      'is missing',
      { runtime: 'docker', protocol: 'stdio', entry: 'a.sh', code: { ...inline, image: 'busybox:1' } },
    ],
    ['/body/code/image', 'does not have the right form', { runtime: 'docker', code: { image: 'no such name' } }],
  ])('refuses an image where none belongs, and asks for one where one is needed: %s %s', async (where, what, body) => {
    const { status, json } = await put('images', body);
    expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    const found = json.error.details.problems.find((problem: { where: string }) => problem.where === where);
    expect(found.what).toContain(what);
  });

  it('answers 503 for an image where no live worker could look for it, and adds nothing', async () => {
    const { status, json } = await put('nobody', { runtime: 'docker', code: { image: 'busybox:1' } });
    expect([status, json.error.code]).toEqual([503, 'NO_WORKER']);
    expect((await api.call('GET', '/v1/artifacts/nobody')).status).toBe(404);
  });

  it('needs permission for the network of the machine', async () => {
    const spec = { runtime: 'process', code: inline, limits: { network: 'host' } };
    const refused = await put('networked', spec);
    expect([refused.status, refused.json.error.code]).toEqual([403, 'FORBIDDEN']);
    expect(refused.json.error.hint).toContain('PILUM_ALLOW_HOST_NETWORK');
    const open = await startApi({ url: redis.url, deps: { allowHostNetwork: true } });
    expect((await open.call('PUT', '/v1/artifacts/networked', { body: spec })).status).toBe(201);
    await open.close();
  });

  it('takes a list of what a network opens, and says of each entry what is wrong with it', async () => {
    const allow = ['api.example.com', '*.s3.amazonaws.com:443', '10.1.2.3:5432', '[fd00::1]:80', 'localhost'];
    const { status, json } = await put('listed', { runtime: 'process', code: inline, limits: { network: { allow } } });
    expect([status, json.spec.limits.network]).toEqual([201, { allow }]);
    expect((await put('out', { runtime: 'process', code: inline, limits: { network: 'egress' } })).status).toBe(201);
    const wrong = ['*.com', 'a.example:0', '0.0.0.0/0', 'https://a.example', '127.0.0.1'];
    const refused = await put('wrong', { runtime: 'process', code: inline, limits: { network: { allow: wrong } } });
    expect(refused.json.error.details.problems.map(({ where }: { where: string }) => where)).toEqual(
      wrong.map((_, index) => `/body/limits/network/allow/${index}`),
    );
    for (const network of [
      { allow: [] },
      { allow: Array(65).fill('a.example') },
      { allow: ['a', 'a'] },
      'all',
      {},
      { allow: ['a\nb'] },
    ]) {
      const { json: none } = await put('wrong', { runtime: 'process', code: inline, limits: { network } });
      expect(none.error?.code, JSON.stringify(network)).toBe('VALIDATION_FAILED');
    }
    const digest = `sha256:${'a'.repeat(64)}`;
    const module = await put('module', { runtime: 'wasm', code: { digest }, limits: { network: 'egress' } });
    expect([module.status, module.json.error.details.problems[0].where]).toEqual([400, '/body/limits/network']);
  });

  it('keeps the runtime of an artifact', async () => {
    await put('fixed', { runtime: 'process', code: inline });
    await api.redis.hset('{pilum:default:fixed}:artifact', 'runtime', 'wasm');
    const { status, json } = await put('fixed', { runtime: 'process', code: { inline: 'export default 2' } });
    expect([status, json.error.code]).toEqual([409, 'RUNTIME_IS_FIXED']);
    const digest = `sha256:${createHash('sha256').update('export default 2').digest('hex')}`;
    expect(await api.redis.smembers(`{pilum:default:blob:${digest}}:references`)).toEqual([]);
  });

  it.each(['Upper', '-a', 'a-', 'a_b', 'ä', 'a'.repeat(64), 'a.b', '%20', '..%2f..'])(
    'refuses the id %s',
    async (id) => {
      const { status, json } = await put(id, { runtime: 'process', code: inline });
      expect([status, json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
      expect(json.error.details.problems[0].where).toBe('/path/id');
    },
  );
});

describe('artifacts', () => {
  it('are listed by id, a page at a time, each namespace for itself', async () => {
    const other = { 'pilum-namespace': 'lists' };
    for (const id of ['b', 'd', 'a', 'c', 'e']) await api.deploy(id, {}, other);
    const ids: string[] = [];
    let after = '';
    for (let pages = 0; pages < 10; pages++) {
      const { json } = await api.call('GET', `/v1/artifacts?limit=2${after}`, { headers: other });
      ids.push(...json.artifacts.map((artifact: { id: string }) => artifact.id));
      if (json.next === null) break;
      after = `&after=${json.next}`;
    }
    expect(ids).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect((await api.call('GET', '/v1/artifacts/a')).status).toBe(404);
    for (const limit of ['0', '101', 'x', '1.5', '']) {
      expect((await api.call('GET', `/v1/artifacts?limit=${limit}`)).json.error.code).toBe('VALIDATION_FAILED');
    }
    expect((await api.call('GET', '/v1/artifacts?page=2')).json.error.message).toContain('"page"');
    expect((await api.call('GET', '/v1/artifacts?limit=1&limit=2')).status).toBe(400);
  });

  it('show versions, aliases and settings', async () => {
    await api.deploy('shown');
    await api.deploy('shown', { labels: { team: 'search' } });
    await api.call('PUT', '/v1/artifacts/shown/aliases/live', { body: { version: 1 } });
    const { json } = await api.call('GET', '/v1/artifacts/shown');
    expect(json).toMatchObject({ id: 'shown', namespace: 'default', runtime: 'process', latestVersion: 2 });
    expect(json.settings).toEqual({ ...DEFAULT_SETTINGS });
    expect(json.versions.map((version: { version: number }) => version.version)).toEqual([2, 1]);
    expect(json.aliases).toEqual([{ name: 'live', version: 1 }]);
    expect((await api.call('GET', '/v1/artifacts/shown/versions/2')).json.spec.labels).toEqual({ team: 'search' });
    expect((await api.call('GET', '/v1/artifacts/shown/versions/3')).json.error.code).toBe('VERSION_NOT_FOUND');
    expect((await api.call('GET', '/v1/artifacts/shown/versions/x')).json.error.code).toBe('VALIDATION_FAILED');
    expect((await api.call('GET', '/v1/artifacts/nothing/versions/1')).json.error.code).toBe('ARTIFACT_NOT_FOUND');
  });

  it('take settings at any time', async () => {
    await api.deploy('settled');
    const patch = (body: unknown) => api.call('PATCH', '/v1/artifacts/settled/settings', { body });
    expect((await patch({ paused: true })).json).toEqual({ ...DEFAULT_SETTINGS, paused: true });
    expect((await patch({ maxConcurrency: 3 })).json).toEqual({ ...DEFAULT_SETTINGS, paused: true, maxConcurrency: 3 });
    expect((await api.call('GET', '/v1/artifacts/settled')).json.settings).toEqual({
      ...DEFAULT_SETTINGS,
      paused: true,
      maxConcurrency: 3,
    });
    await api.accept('settled');
    const queue = api.deps.queues.of({ namespace: 'default', artifactId: 'settled' });
    expect((await queue.fetch('token', 'worker')).job).toBeNull();
    expect((await patch({ ...DEFAULT_SETTINGS })).json).toEqual({
      ...DEFAULT_SETTINGS,
    });
    expect((await queue.fetch('token', 'worker')).job).not.toBeNull();
    expect((await patch({ weight: 3, reserved: 2 })).json).toEqual({ ...DEFAULT_SETTINGS, weight: 3, reserved: 2 });
    expect((await patch({ weight: 0 })).json.error.code).toBe('VALIDATION_FAILED');
    expect((await patch({})).json.error.code).toBe('VALIDATION_FAILED');
    expect((await patch({ maxConcurrency: 0 })).json.error.code).toBe('VALIDATION_FAILED');
    const missing = await api.call('PATCH', '/v1/artifacts/nothing/settings', { body: { paused: true } });
    expect(missing.json.error.code).toBe('ARTIFACT_NOT_FOUND');
  });
});

describe('versions and aliases', () => {
  it('are what a reference means', async () => {
    await api.deploy('meant', { labels: { n: '1' } });
    await api.deploy('meant', { labels: { n: '2' } });
    await api.deploy('meant', { labels: { n: '3' } });
    const versionOf = async (reference: string) => (await api.invoke(reference, {}, '?mode=async')).json.version;
    expect(await versionOf('meant')).toBe(3);
    expect(await versionOf('meant@1')).toBe(1);
    await api.call('PUT', '/v1/artifacts/meant/aliases/canary', { body: { version: 2 } });
    expect(await versionOf('meant@canary')).toBe(2);
    expect(await versionOf('meant')).toBe(3);
    await api.call('PUT', '/v1/artifacts/meant/aliases/live', { body: { version: 1 } });
    expect(await versionOf('meant')).toBe(1);
    expect((await api.call('DELETE', '/v1/artifacts/meant/aliases/live')).status).toBe(204);
    expect(await versionOf('meant')).toBe(3);
    const codeOf = async (reference: string) => (await api.invoke(reference)).json.error.code;
    expect(await codeOf('meant@9')).toBe('VERSION_NOT_FOUND');
    expect(await codeOf('meant@nope')).toBe('ALIAS_NOT_FOUND');
    expect(await codeOf('nothing')).toBe('ARTIFACT_NOT_FOUND');
    expect(await codeOf('meant@')).toBe('VALIDATION_FAILED');
    expect(await codeOf('meant@@1')).toBe('VALIDATION_FAILED');
    expect(await codeOf('meant@0')).toBe('VERSION_NOT_FOUND');
  });

  it('can be deprecated, unless an alias points there, and taken back', async () => {
    await api.deploy('ageing', { labels: { n: '1' } });
    await api.deploy('ageing', { labels: { n: '2' } });
    const patch = (version: number, state: string) =>
      api.call('PATCH', `/v1/artifacts/ageing/versions/${version}`, { body: { state } });
    await api.call('PUT', '/v1/artifacts/ageing/aliases/live', { body: { version: 2 } });
    expect((await patch(2, 'deprecated')).json.error.code).toBe('VERSION_IN_USE');
    await api.call('DELETE', '/v1/artifacts/ageing/aliases/live');
    expect((await patch(2, 'deprecated')).json).toMatchObject({ version: 2, state: 'deprecated' });
    expect((await api.invoke('ageing', {}, '?mode=async')).json.version).toBe(1);
    expect((await api.invoke('ageing@2', {}, '?mode=async')).json.version).toBe(2);
    const alias = await api.call('PUT', '/v1/artifacts/ageing/aliases/live', { body: { version: 2 } });
    expect([alias.status, alias.json.error.code]).toEqual([409, 'ARTIFACT_NOT_READY']);
    await patch(1, 'deprecated');
    expect((await api.invoke('ageing')).json.error.code).toBe('ARTIFACT_NOT_READY');
    expect((await patch(2, 'ready')).json.state).toBe('ready');
    expect((await api.invoke('ageing', {}, '?mode=async')).json.version).toBe(2);
    await api.redis.hset('{pilum:default:ageing}:version-states', '1', 'failed');
    expect((await patch(1, 'ready')).json.error.code).toBe('ARTIFACT_NOT_READY');
    expect((await patch(1, 'deleted')).json.error.code).toBe('VALIDATION_FAILED');
    expect((await patch(7, 'ready')).json.error.code).toBe('VERSION_NOT_FOUND');
  });

  it('refuse alias names that are numbers, weights, and versions that are not there', async () => {
    await api.deploy('named');
    const alias = (name: string, body: unknown) => api.call('PUT', `/v1/artifacts/named/aliases/${name}`, { body });
    expect((await alias('12', { version: 1 })).json.error.message).toContain('version number');
    expect((await alias('v-12', { version: 1 })).status).toBe(200);
    expect((await alias('Live', { version: 1 })).json.error.code).toBe('VALIDATION_FAILED');
    expect((await alias('live', { weights: { 1: 90, 2: 10 } })).json.error.code).toBe('NOT_IMPLEMENTED');
    expect((await alias('live', {})).json.error.code).toBe('VALIDATION_FAILED');
    expect((await alias('live', { version: 0 })).json.error.code).toBe('VALIDATION_FAILED');
    expect((await alias('live', { version: 2 })).json.error.code).toBe('VERSION_NOT_FOUND');
    expect((await api.call('DELETE', '/v1/artifacts/named/aliases/live')).json.error.code).toBe('ALIAS_NOT_FOUND');
    const nowhere = await api.call('PUT', '/v1/artifacts/nothing/aliases/live', { body: { version: 1 } });
    expect(nowhere.json.error.code).toBe('ARTIFACT_NOT_FOUND');
  });
});

describe('what is known of an artifact', () => {
  it('changes in every API process at once', async () => {
    const other = await startApi({ url: redis.url });
    await api.deploy('told', { labels: { n: '1' } });
    const versionThere = async () => (await other.invoke('told', {}, '?mode=async')).json.version;
    expect(await versionThere()).toBe(1);
    await api.deploy('told', { labels: { n: '2' } });
    await expect.poll(versionThere, { timeout: 60_000, interval: 5 }).toBe(2);
    await api.call('PUT', '/v1/artifacts/told/aliases/live', { body: { version: 1 } });
    await expect.poll(versionThere, { timeout: 60_000, interval: 5 }).toBe(1);
    await api.call('DELETE', '/v1/artifacts/told');
    await expect.poll(async () => (await other.invoke('told')).status, { timeout: 60_000, interval: 5 }).toBe(404);
    await other.close();
  });

  it('is read once for many calls', async () => {
    await api.deploy('hot');
    const reads = async () => {
      const info = await api.redis.info('commandstats');
      return Number(/cmdstat_hgetall:calls=(\d+)/.exec(info)?.[1]);
    };
    await api.deps.resolver.resolve('default', 'hot');
    const before = await reads();
    for (let i = 0; i < 50; i++) await api.deps.resolver.resolve('default', 'hot@1');
    expect(await reads()).toBe(before);
  });
});
