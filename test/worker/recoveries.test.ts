import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Runtime } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { Workshop } from './support/workshop.ts';

let shop: Workshop;
let lossesLeft = 0;
/** Loses instances under their tasks. */
const loseSome = (runtimes: Runtime[]) => {
  for (const runtime of runtimes) {
    const start = runtime.start.bind(runtime);
    runtime.start = async (...args) => {
      const instance = await start(...args);
      const call = instance.call.bind(instance);
      instance.call = async (one) => {
        if (lossesLeft-- <= 0) return await call(one);
        await instance.stop({ graceMs: 0 });
        throw new InstanceError('INSTANCE_LOST', { message: 'it went away' });
      };
      return instance;
    };
  }
};
beforeAll(async () => {
  shop = await Workshop.open();
  await shop.startWorker('worker-1', {}, loseSome);
  await shop.deploy('fine', 'export default () => 1');
});
afterAll(async () => await shop?.close());

describe('a task whose instance is lost', () => {
  it.each([
    { says: undefined, recoveries: 3 },
    { says: 0, recoveries: 0 },
    { says: 1, recoveries: 1 },
    { says: 5, recoveries: 5 },
  ])('is run again as often as its version says: $says', async ({ says, recoveries }) => {
    const changes = says === undefined ? {} : { maxRecoveries: says };
    lossesLeft = recoveries;
    expect(await shop.settled(await shop.run('fine', {}, changes))).toMatchObject({ status: 'completed', recoveries });
    lossesLeft = recoveries + 1;
    const lost = await shop.settled(await shop.run('fine', {}, changes));
    expect(lost).toMatchObject({
      status: 'failed',
      recoveries,
      error: { code: 'INSTANCE_LOST', details: { recoveries } },
    });
    expect(lossesLeft).toBe(0);
    expect(lost.error?.message).toContain(recoveries === 0 ? 'retry.recoveries' : `run ${recoveries + 1} times`);
  });
});
