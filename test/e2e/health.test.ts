import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum());
});

const fixture = (name: string) => readFileSync(new URL(`../fixtures/functions/${name}`, import.meta.url), 'utf8');

async function instances(artifactId: string): Promise<{ instanceId: string; state: string }[]> {
  const { json } = await pilum.call('GET', '/v1/instances');
  return json.instances.filter((instance: { artifactId: string }) => instance.artifactId === artifactId);
}

describe('an instance that a call has left spinning', () => {
  it('is replaced before the next task meets it', async () => {
    await pilum.deploy('spins', {
      code: { inline: fixture('spins-afterwards.mjs') },
      pool: { min: 1, healthCheckIntervalMs: 200 },
    });
    const { body: first } = await pilum.invoke('spins', {});
    expect(first).toMatchObject({ status: 'completed', result: 'returned' });
    await waitFor(
      async () => {
        const [one, ...more] = await instances('spins');
        return more.length === 0 && one?.state === 'ready' && one.instanceId !== first.instanceId;
      },
      { what: 'another instance in its place' },
    );
    const { body: second } = await pilum.invoke('spins', {});
    expect(second).toMatchObject({
      status: 'completed',
      result: 'returned',
      recoveries: 0,
      timing: { coldStart: false },
    });
    expect(second.instanceId).not.toBe(first.instanceId);
    expect(pilum.workers[0]?.output()).toContain('an idle instance does not answer and is replaced');
  });

  it('is left alone for as long as a task runs on it', async () => {
    // Busy for longer than an idle instance may be, many times over the interval.
    const code = {
      inline: 'export default (ms) => { for (const end = Date.now() + ms; Date.now() < end; ); return ms; }',
    };
    await pilum.deploy('busy', { code, pool: { healthCheckIntervalMs: 100 } });
    const { body: first } = await pilum.invoke('busy', 3500);
    expect(first).toMatchObject({ status: 'completed', result: 3500, recoveries: 0 });
    expect((await pilum.invoke('busy', 1)).body.instanceId).toBe(first.instanceId);
  });
});
