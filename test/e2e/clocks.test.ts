import { afterAll, beforeAll, expect, it } from 'vitest';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const HOUR_MS = 3_600_000;

/** What starts a process on a machine whose clock is off. */
function clockOff(ms: number): Record<string, string> {
  const source = `const { now } = Date; Date.now = () => now() + (${ms});
    globalThis.Date = class extends Date { constructor(...a) { super(...(a.length === 0 ? [now() + (${ms})] : a)); } };`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(source)}` };
}

let pilum: TestPilum;
beforeAll(async () => {
  // Neither agrees with the other, nor with Redis.
  pilum = await startPilum({ workers: 0, env: clockOff(-3 * HOUR_MS) });
  await pilum.addWorker(clockOff(3 * HOUR_MS));
  await pilum.deploy('punctual', {
    code: {
      inline: 'export default (e, { attempt }) => { if (attempt < e.attempt) throw new Error("no"); return attempt; }',
    },
    retry: { attempts: 3, backoff: { type: 'fixed', delayMs: 700, jitter: 0 } },
    timeouts: { queueMs: 10_000 },
  });
});
afterAll(async () => await pilum.close());

it('an API and a worker whose clocks are hours off run calls, and record when they ran', async () => {
  const { status, body } = await pilum.invoke('punctual', { attempt: 1 });
  expect([status, body.result]).toEqual([200, 1]);
  expect(body.timing.queuedMs).toBeLessThan(60_000);
  for (const at of [body.createdAt, body.finishedAt])
    expect(Math.abs(Date.parse(at ?? '') - Date.now())).toBeLessThan(60_000);
});

it('they keep delays, pauses between attempts and limits on waiting', async () => {
  const since = performance.now();
  const delayed = (await pilum.invoke('punctual', { attempt: 2 }, '?mode=async&delay=1500ms')).body;
  expect(Date.parse(delayed.dueAt ?? '') - Date.parse(delayed.createdAt)).toBe(1500);
  const { json: outcome } = await pilum.call('GET', `/v1/tasks/${delayed.taskId}?wait=20s`);
  const took = performance.now() - since;
  expect(outcome).toMatchObject({ status: 'completed', result: 2, attempt: 2 });
  expect(took).toBeGreaterThan(2000);
  expect(Date.parse(outcome.finishedAt) - Date.parse(delayed.createdAt)).toBeGreaterThan(2000);

  await pilum.call('PATCH', '/v1/artifacts/punctual/settings', {
    body: JSON.stringify({ paused: true }),
    headers: { 'content-type': 'application/json' },
  });
  const waiting = (await pilum.invoke('punctual', { attempt: 1 }, '?mode=async')).body;
  // The housekeeper, whose clock is off, has looked at it more than once.
  await waitFor(
    async () => (await pilum.call('GET', `/v1/tasks/${waiting.taskId}?wait=2500ms`)).json.status === 'pending',
    { what: 'it to wait', timeoutMs: 8000 },
  );
  await pilum.call('PATCH', '/v1/artifacts/punctual/settings', {
    body: JSON.stringify({ paused: false }),
    headers: { 'content-type': 'application/json' },
  });
  expect((await pilum.call('GET', `/v1/tasks/${waiting.taskId}?wait=20s`)).json.status).toBe('completed');
});

it('it is seen by how much they are off, and workers do not take each other for dead', async () => {
  await pilum.addWorker(clockOff(0));
  const workersOf = async () =>
    (await pilum.call('GET', '/v1/workers')).json.workers as { clockSkewMs: number; seenAt: string }[];
  await waitFor(async () => (await workersOf()).length === 2, { what: 'both workers' });
  const workers = await workersOf();
  const skews = workers.map(({ clockSkewMs }) => Math.round(clockSkewMs / HOUR_MS) + 0).sort();
  expect(skews).toEqual([0, 3]);
  for (const { seenAt } of workers) expect(Math.abs(Date.parse(seenAt) - Date.now())).toBeLessThan(60_000);
});
