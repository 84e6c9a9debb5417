import { randomUUID } from 'node:crypto';
import { chmodSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { removeContainer } from '../../apps/worker/src/runtimes/docker/container.ts';
import { containersOf, engine, IMAGES, whyNoEngine } from '../support/docker.ts';
import { startPilum } from '../support/pilum.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';

const why = await whyNoEngine();
const ROOT = join(import.meta.dirname, '../..');
const IN_CONTAINER = '/var/lib/pilum';

describe.skipIf(why !== null)('workers in containers of the same Engine', () => {
  test('run functions in containers beside them, and one removes what another that was killed has left', async () => {
    const data = makeTemporaryDirectory();
    chmodSync(data, 0o755);
    const pilum = await startPilum({ workers: 0 });
    onTestFinished(async () => {
      await pilum.close();
      rmSync(data, { recursive: true, force: true });
    });
    const startWorker = async () => {
      const workerId = `inside-${randomUUID()}`;
      const env = {
        PILUM_REDIS_URL: pilum.redis.url,
        PILUM_WORKER_ID: workerId,
        PILUM_DATA: IN_CONTAINER,
        PILUM_DOCKER_DATA: data,
        PILUM_LOG_LEVEL: 'warn',
      };
      const redisDirectory = /^unix:\/\/(.*)$/.exec(pilum.redis.url)?.[1];
      const container = await engine.createContainer({
        Image: IMAGES.node,
        Cmd: ['node', join(ROOT, 'apps/worker/src/main.ts')],
        Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
        HostConfig: {
          Init: true,
          NetworkMode: 'host',
          Binds: [
            `${ROOT}:${ROOT}:ro`,
            `${data}:${IN_CONTAINER}`,
            '/var/run/docker.sock:/var/run/docker.sock',
            ...(redisDirectory === undefined ? [] : [`${dirname(redisDirectory)}:${dirname(redisDirectory)}`]),
          ],
        },
      });
      onTestFinished(async () => {
        await removeContainer(engine, container.id);
        for (const { Id } of await containersOf(workerId)) await removeContainer(engine, Id);
      });
      await container.start();
      const isThere = async () => {
        const { workers } = (await pilum.call('GET', '/v1/workers')).json;
        return workers.some(
          (worker: { workerId: string; runtimes: { kind: string; available: boolean }[] }) =>
            worker.workerId === workerId &&
            worker.runtimes.some(({ kind, available }) => kind === 'docker' && available),
        );
      };
      await waitFor(isThere, { what: 'the worker in a container' });
      return { workerId, kill: () => container.kill() };
    };

    const first = await startWorker();
    await pilum.deploy('words', { runtime: 'layer', code: { inline: 'from a layer' }, entry: 'word.txt' });
    const inline =
      'import { readFileSync } from "node:fs";\n' +
      'export default (event) => ({ ...event, word: readFileSync("/opt/words/word.txt", "utf8") });';
    await pilum.deploy('boxed', { runtime: 'docker', code: { inline }, dependsOn: ['words'] });
    const { body } = await pilum.invoke('boxed', { a: 1 });
    expect(body).toMatchObject({ status: 'completed', result: { a: 1, word: 'from a layer' } });
    expect(await containersOf(first.workerId)).toHaveLength(1);

    await first.kill();
    await startWorker();
    await waitFor(async () => (await containersOf(first.workerId)).length === 0, {
      what: 'the removal of what the first has left',
    });
    expect((await pilum.invoke('boxed', { b: 2 })).body.result).toEqual({ b: 2, word: 'from a layer' });
  });
});
