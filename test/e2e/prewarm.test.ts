import { expect, test } from 'vitest';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const prewarmedOf = async (pilum: TestPilum) => (await pilum.call('GET', '/v1/workers')).json.workers[0].prewarmed;

test('a worker says how many blanks stand ready, and a first call takes one of them', async () => {
  const pilum = await startPilum({ env: { PILUM_PREWARM: '2' } });
  try {
    await waitFor(async () => expect(await prewarmedOf(pilum)).toEqual({ node: 2, python: 2 }), {
      what: 'all blanks',
    });
    await pilum.deploy('up', { code: { inline: 'export default () => process.uptime() * 1000' } });
    const { body } = await pilum.invoke('up', {});
    expect(body).toMatchObject({ status: 'completed', timing: { coldStart: true } });
    // Its interpreter was up before the call began.
    expect(body.result).toBeGreaterThan(Date.parse(body.finishedAt ?? '') - Date.parse(body.createdAt));
  } finally {
    await pilum.close();
  }
});

test('with none configured a worker keeps none', async () => {
  const pilum = await startPilum({ env: { PILUM_PREWARM: '0' } });
  try {
    await pilum.deploy('plain', { code: { inline: 'export default () => 1' } });
    expect((await pilum.invoke('plain', {})).body.result).toBe(1);
    expect(await prewarmedOf(pilum)).toEqual({});
  } finally {
    await pilum.close();
  }
});
