import { expect, it } from 'vitest';
import { startPilum, type TestPilum } from '../../support/pilum.ts';
import { waitFor } from '../../support/wait-for.ts';

const POISON =
  'export default () => { console.log("poisonous"); return new Promise(() => setInterval(() => {}, 1000)); }';
const WAIT = 'export default (e) => new Promise((r) => setTimeout(() => r("waited"), e.ms))';
/** From the death of a worker to the moment that a task of it is run on the next one, its turn included, ms. */
const NEXT_RUN_MS = 60_000;

const accept = async (pilum: TestPilum, artifactId: string, event: unknown) =>
  (await pilum.invoke(artifactId, event, '?mode=async')).body.taskId;
const read = async (pilum: TestPilum, taskId: string) => (await pilum.call('GET', `/v1/tasks/${taskId}`)).json;
const begun = async (pilum: TestPilum, taskId: string) =>
  ((await pilum.call('GET', `/v1/tasks/${taskId}/logs`)).text.match(/poisonous/g) ?? []).length;

it('a task that ends every worker that runs it is INSTANCE_LOST, and those beside it complete', async () => {
  const pilum = await startPilum({ workers: 0 });
  try {
    await pilum.deploy('poison', { code: { inline: POISON } });
    await pilum.deploy('wait', { code: { inline: WAIT } });
    const poison = await accept(pilum, 'poison', {});
    const others = [await accept(pilum, 'wait', { ms: 3000 }), await accept(pilum, 'wait', { ms: 3000 })];
    let deaths = 0;
    for (;;) {
      const worker = await pilum.addWorker();
      const verdict = await waitFor(
        async () => {
          if ((await begun(pilum, poison)) > deaths) return 'begun';
          return (await read(pilum, poison)).status === 'failed' && 'failed';
        },
        { what: `run ${deaths + 1} of the poison`, timeoutMs: NEXT_RUN_MS, everyMs: 100 },
      );
      if (verdict === 'failed') break;
      // What it does, as far as anybody can see.
      worker.signal('SIGKILL');
      deaths++;
      expect(deaths).toBeLessThan(6);
    }
    expect(deaths).toBe(5);
    const { error, recoveries } = await read(pilum, poison);
    expect(error).toMatchObject({ code: 'INSTANCE_LOST', details: { workersLostAlone: 3 } });
    expect(recoveries).toBe(4);
    for (const taskId of others) {
      const task = await waitFor(
        async () => {
          const read = (await pilum.call('GET', `/v1/tasks/${taskId}`)).json;
          return !['pending', 'running'].includes(read.status) && read;
        },
        { what: 'an innocent task', timeoutMs: NEXT_RUN_MS },
      );
      expect(task).toMatchObject({ status: 'completed', result: 'waited' });
      // It was beside the first two; how often it waited for its turn on others is chance.
      expect(task.recoveries).toBeGreaterThanOrEqual(2);
    }
  } finally {
    await pilum.close();
  }
}, 240_000);
