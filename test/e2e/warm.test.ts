import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum());
});

interface Instance {
  readonly instanceId: string;
  readonly artifactId: string;
  readonly version: number;
  readonly state: string;
  readonly workerId: string;
  readonly tasksRun: number;
}

async function instances(artifactId: string): Promise<Instance[]> {
  const { json } = await pilum.call('GET', '/v1/instances');
  return json.instances.filter((instance: Instance) => instance.artifactId === artifactId);
}

/** Waits until an artifact has so many ready instances of a version and no others. */
async function ready(artifactId: string, version: number, count: number): Promise<Instance[]> {
  return await waitFor(
    async () => {
      const found = await instances(artifactId);
      const good = found.filter((instance) => instance.version === version && instance.state === 'ready');
      return good.length === count && found.length === count ? good : null;
    },
    { what: `${count} instances of ${artifactId}@${version}` },
  );
}

const code = (text: string) => ({ inline: `export default () => ${JSON.stringify(text)}` });

describe('a pool with a minimum', () => {
  it('is warm before the first call, and stays so when an instance goes', async () => {
    await pilum.deploy('warm', { code: code('one'), pool: { min: 2, idleTimeoutMs: 500, recycleAfterTasks: 3 } });
    await ready('warm', 1, 2);
    const { body } = await pilum.invoke('warm', {});
    expect(body).toMatchObject({ result: 'one', timing: { coldStart: false } });
    // Longer than the idle time-out, and more tasks than one instance runs.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (let i = 0; i < 8; i++) await pilum.invoke('warm', {});
    const left = await ready('warm', 1, 2);
    expect(Math.max(...left.map(({ tasksRun }) => tasksRun))).toBeLessThan(3);
  });

  it('moves on with the version that a bare id means, and goes with the artifact', async () => {
    await pilum.deploy('warm', { code: code('two'), pool: { min: 1, idleTimeoutMs: 500 } });
    await ready('warm', 2, 1);
    await pilum.call('PUT', '/v1/artifacts/warm/aliases/live', { body: { version: 1 } });
    await ready('warm', 1, 2);
    await pilum.call('DELETE', '/v1/artifacts/warm');
    await ready('warm', 1, 0);
  });

  it('is warm again after a restart of its worker', async () => {
    await pilum.deploy('again', { code: code('again'), pool: { min: 1 } });
    await ready('again', 1, 1);
    pilum.workers[0]?.signal('SIGKILL');
    await pilum.workers[0]?.ended;
    await pilum.addWorker();
    await waitFor(
      async () =>
        (await instances('again')).some(({ workerId, state }) => workerId === 'worker-2' && state === 'ready'),
      {
        what: 'an instance on the new worker',
      },
    );
  });

  it('that cannot start is tried again with pauses, and costs the others nothing', async () => {
    await pilum.deploy('broken', { code: { inline: 'throw new Error("no")' }, pool: { min: 1 } });
    await pilum.deploy('fine', { code: code('fine') });
    expect((await pilum.invoke('fine', {})).body.result).toBe('fine');
    expect((await pilum.invoke('broken', {})).body.error?.code).toBe('INSTANCE_START_FAILED');
  });
});
