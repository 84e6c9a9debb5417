import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { engine, IMAGES, makeImage, makeImageOfOneFile, removeMadeImages, whyNoEngine } from '../support/docker.ts';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const why = await whyNoEngine();
const ECHO = 'export default (event, context) => ({ ...event, version: context.version })';

describe.skipIf(why !== null)('functions in containers', () => {
  let pilum: TestPilum;
  const kept = keep();
  beforeAll(async () => {
    kept.add(null, removeMadeImages);
    pilum = kept.add(await startPilum());
  });

  const put = (id: string, body: Record<string, unknown>) =>
    pilum.call('PUT', `/v1/artifacts/${id}`, { body: { runtime: 'docker', ...body } });

  test('a handler runs in the stock image of its language, and is warm for the second call', async () => {
    const { status, json } = await put('echo', { code: { inline: ECHO } });
    expect(status).toBe(201);
    const { Id } = await engine.getImage(IMAGES.node).inspect();
    expect(json).toMatchObject({
      state: 'ready',
      spec: { protocol: 'handler', code: { image: IMAGES.node } },
      image: { reference: IMAGES.node, id: Id, digest: null, user: '1000:1000' },
    });
    const first = await pilum.invoke('echo', { a: 1 });
    expect(first.body).toMatchObject({
      status: 'completed',
      result: { a: 1, version: 1 },
      timing: { coldStart: true },
    });
    const second = await pilum.invoke('echo', { a: 2 });
    expect(second.body).toMatchObject({ result: { a: 2, version: 1 }, timing: { coldStart: false } });
  });

  test('a handler in Python runs in an image that the spec names', async () => {
    const code = { image: IMAGES.python, inline: 'import sys\ndef handler(event, context):\n    return sys.version' };
    expect((await put('python', { language: 'python', code })).status).toBe(201);
    expect((await pilum.invoke('python', {})).body.result).toMatch(/^3\./);
  });

  test('a command runs in an image, and has what it says on stderr in its log', async () => {
    const command = ['sh', '-c', 'echo seen >&2; tr a-z A-Z'];
    const { status, json } = await put('shout', { code: { image: IMAGES.busybox }, command });
    expect([status, json.spec.protocol]).toEqual([201, 'stdio']);
    const { body } = await pilum.invoke('shout', 'quiet');
    expect(body).toMatchObject({ status: 'completed', result: 'QUIET' });
    expect((await pilum.call('GET', `/v1/tasks/${body.taskId}/logs`)).text).toContain('seen');
  });

  test('a server that others have made is a web endpoint as it is, and nothing of it is left behind', async () => {
    const tag = `pilum-e2e-${randomUUID()}:1`;
    await makeImage(tag, IMAGES.python, ['CMD ["sh", "-c", "exec python3 -m http.server --directory /etc $PORT"]']);
    const { status, json } = await put('site', {
      protocol: 'http',
      code: { image: tag },
      pool: { idleTimeoutMs: 1000 },
    });
    expect(status, JSON.stringify(json)).toBe(201);
    const page = await pilum.call('GET', '/fn/site/os-release');
    expect([page.status, page.text]).toEqual([200, expect.stringContaining('Debian')]);
    expect((await pilum.call('GET', '/fn/site/none')).status).toBe(404);
    expect((await pilum.call('POST', '/fn/site/', { body: 'x' })).status).toBe(501);
    const log = await pilum.call('GET', `/v1/tasks/${page.headers.get('pilum-task-id')}/logs`);
    expect(log.text).toContain('GET /os-release');
    const here = () => engine.listContainers({ all: true, filters: { label: ['pilum.artifact=default/site@1'] } });
    expect(await here()).toHaveLength(2);
    await waitFor(async () => (await here()).length === 0, { what: 'no container of it' });
  });

  test('a server in an image that has nothing but itself, no shell and no library, is reached as well', async () => {
    const tag = `pilum-e2e-${randomUUID()}:1`;
    await makeImageOfOneFile(tag, IMAGES.busybox, '/bin/busybox');
    const command = ['/busybox', 'httpd', '-f', '-v', '-p', '8080', '-h', '/'];
    expect((await put('bare', { protocol: 'http', code: { image: tag }, command })).status).toBe(201);
    const answer = await fetch(`${pilum.url}/fn/bare/busybox`);
    const bytes = Buffer.from(await answer.arrayBuffer());
    expect(answer.status, bytes.toString('utf8', 0, 2000)).toBe(200);
    expect(bytes.length).toBeGreaterThan(100_000);
    expect((await pilum.call('GET', '/fn/bare/none')).status).toBe(404);
  });

  test('the same spec and the same image are the same version; what was built under the same tag is another', async () => {
    const tag = `pilum-e2e-${randomUUID()}:1`;
    await makeImage(tag, IMAGES.busybox, ['CMD ["echo", "first"]']);
    const spec = { code: { image: tag } };
    expect(await put('built', spec)).toMatchObject({ status: 201, json: { version: 1 } });
    const again = await Promise.all([put('built', spec), put('built', spec)]);
    expect(again.map(({ status, json }) => [status, json.version, json.state])).toEqual([
      [200, 1, 'ready'],
      [200, 1, 'ready'],
    ]);
    const { id } = await makeImage(tag, IMAGES.busybox, ['CMD ["echo", "second"]']);
    const moved = await put('built', spec);
    expect(moved).toMatchObject({ status: 201, json: { state: 'ready', image: { id } } });
    expect(await put('built', spec)).toMatchObject({ status: 200, json: { version: moved.json.version } });
    expect((await pilum.invoke('built', {})).body.result).toBe('second\n');
    expect((await pilum.invoke('built@1', {})).body.result).toBe('first\n');
    const versions = (await pilum.call('GET', '/v1/artifacts/built')).json.versions;
    expect(versions.map(({ version }: { version: number }) => version)).toEqual([moved.json.version, 1]);
  });

  test('an image by its id is one version, and nobody looks again', async () => {
    const { Id } = await engine.getImage(IMAGES.busybox).inspect();
    const spec = { code: { image: Id }, command: ['echo', 'by id'] };
    expect(await put('by-id', spec)).toMatchObject({ status: 201, json: { version: 1, image: { id: Id } } });
    expect(await put('by-id', spec)).toMatchObject({ status: 200, json: { version: 1 } });
    expect((await pilum.invoke('by-id', {})).body.result).toBe('by id\n');
  });

  test('an image that is nowhere fails the deployment and says why; the versions before it go on', async () => {
    await put('broken', { code: { image: IMAGES.busybox }, command: ['echo', 'well'] });
    const { status, json } = await put('broken', { code: { image: 'localhost:1/pilum-nowhere:1' } });
    expect([status, json.error.code]).toEqual([422, 'IMAGE_UNAVAILABLE']);
    expect(json.error.message).toContain('localhost:1/pilum-nowhere:1');
    expect(json.error.details).toMatchObject({ reason: 'unreachable', artifactId: 'broken', version: 2 });
    const version = await pilum.call('GET', '/v1/artifacts/broken/versions/2');
    expect(version.json).toMatchObject({ state: 'failed', error: { code: 'IMAGE_UNAVAILABLE' } });
    expect((await pilum.invoke('broken', {})).body.result).toBe('well\n');
    const call = await pilum.invoke('broken@2', {});
    expect(call.status).toBe(409);
    expect(JSON.stringify(call.body)).toContain('is failed (The image localhost:1/pilum-nowhere:1 cannot be had');
  });
});
