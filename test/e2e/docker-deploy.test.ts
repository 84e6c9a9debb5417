import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { EngineProxy, IMAGES, whyNoEngine } from '../support/docker.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';

const why = await whyNoEngine();

/** A registry that says that it is one, and then nothing more until it is let go on: it has no image. */
async function startSlowRegistry(): Promise<{ name: string; isAsked: () => boolean; letGo: () => void }> {
  const held: ServerResponse[] = [];
  let isHeld = true;
  const answer = (response: ServerResponse) =>
    response
      .writeHead(404, { 'content-type': 'application/json' })
      .end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
  const registry: Server = createServer((request, response) => {
    if (request.url === '/v2/') response.writeHead(200).end('{}');
    else if (isHeld) held.push(response);
    else answer(response);
  }).listen(0, '127.0.0.1');
  await once(registry, 'listening');
  onTestFinished(() => {
    registry.closeAllConnections();
    registry.close();
  });
  return {
    name: `localhost:${(registry.address() as AddressInfo).port}`,
    isAsked: () => held.length > 0,
    letGo: () => {
      isHeld = false;
      for (const response of held) answer(response);
    },
  };
}

async function pilumWith(options: Parameters<typeof startPilum>[0]): Promise<TestPilum> {
  const pilum = await startPilum(options);
  onTestFinished(() => pilum.close());
  return pilum;
}

describe.skipIf(why !== null)('deploying an image', () => {
  test('that is long on its way is answered with 202; where the worker dies over it another goes on, and both can be seen', async () => {
    const registry = await startSlowRegistry();
    const pilum = await pilumWith({ workers: 1 });
    const path = '/v1/artifacts/slow';
    const put = await pilum.call('PUT', path, { body: { runtime: 'docker', code: { image: `${registry.name}/a:1` } } });
    expect(put).toMatchObject({ status: 202, json: { version: 1, state: 'creating' } });
    expect(registry.isAsked()).toBe(true);
    const version = async () => (await pilum.call('GET', `${path}/versions/1`)).json;
    expect(await version()).toMatchObject({
      preparation: { workerId: 'worker-1', message: expect.stringContaining(`pulling ${registry.name}/a:1`) },
    });
    const call = await pilum.invoke('slow', {});
    expect(call.status).toBe(409);
    expect(call.body.error).toMatchObject({
      code: 'ARTIFACT_NOT_READY',
      message: expect.stringContaining('is creating (pulling'),
      hint: expect.stringContaining('/v1/artifacts/slow/versions/1'),
    });

    await pilum.addWorker();
    pilum.workers[0]?.signal('SIGKILL');
    await waitFor(async () => (await version()).preparation?.workerId === 'worker-2', {
      what: 'another worker',
    });
    registry.letGo();
    await waitFor(async () => (await version()).state === 'failed', { what: 'the end' });
    expect(await version()).toMatchObject({ error: { code: 'IMAGE_UNAVAILABLE', details: { reason: 'not-found' } } });
    expect((await version()).preparation).toBeUndefined();
  });

  test('while the Engine is away is refused; what runs elsewhere goes on, and what was accepted waits', async () => {
    const proxy = new EngineProxy(join(makeTemporaryDirectory(), 'engine.sock'));
    onTestFinished(async () => {
      await proxy.close();
      rmSync(dirname(proxy.path), { recursive: true });
    });
    await proxy.open();
    const pilum = await pilumWith({ env: { PILUM_DOCKER_HOST: proxy.host } });
    const code = { inline: 'export default (event) => event' };
    await pilum.deploy('plain', { code });
    await pilum.deploy('boxed', { runtime: 'docker', code });
    expect((await pilum.invoke('boxed', { a: 1 })).body.result).toEqual({ a: 1 });
    const isThere = async () =>
      (await pilum.call('GET', '/v1/workers')).json.workers[0].runtimes.find(
        ({ kind }: { kind: string }) => kind === 'docker',
      ).available;

    await proxy.close();
    await waitFor(async () => !(await isThere()), { what: 'the worker to see it' });
    // What the API knows of workers may be a moment old.
    let tries = 0;
    const deployed = await waitFor(
      async () => {
        const answer = await pilum.call('PUT', `/v1/artifacts/late-${++tries}`, {
          body: { runtime: 'docker', code: { image: IMAGES.busybox } },
        });
        return answer.status === 202 ? undefined : answer;
      },
      { what: 'a refusal' },
    );
    expect(deployed).toMatchObject({ status: 503, json: { error: { code: 'NO_WORKER' } } });
    expect(deployed.json.error.details.workers[0]).toContain('The Docker Engine does not answer');
    expect((await pilum.invoke('plain', { b: 2 })).body.result).toEqual({ b: 2 });
    const waiting = await pilum.invoke('boxed', { c: 3 }, '?mode=async');
    expect(waiting.status).toBe(202);

    await proxy.open();
    const { taskId } = waiting.body;
    const { json } = await pilum.call('GET', `/v1/tasks/${taskId}?wait=20s`);
    expect(json).toMatchObject({ status: 'completed', result: { c: 3 } });
  });
});
