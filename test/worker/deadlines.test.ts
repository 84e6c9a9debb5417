import { beforeAll, describe, expect, it } from 'vitest';
import { processesWith, uniqueMarker } from '../conformance/processes.ts';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const RUN_MS = 3000;
const KILL_GRACE_MS = 500;
const SPINNING = 12;
const SPINNING_COMMANDS = 4;

/** Spins, and leaves something behind that has its own session and ignores SIGTERM. */
const SPINS = `
import { spawnSync } from 'node:child_process';
export default ({ marker, waitMs }) => {
  if (waitMs) return new Promise((resolve) => setTimeout(() => resolve('waited'), waitMs));
  const daemon = 'trap "" TERM HUP; while :; do sleep 1 ' + marker + '; done';
  spawnSync('/bin/sh', ['-c', "(setsid /bin/sh -c '" + daemon + "' " + marker + ' >/dev/null 2>&1 &) &']);
  console.log('spinning', marker);
  for (;;);
};
`;

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(
    await startPilum({
      env: {
        PILUM_WORKER_CAPACITY: String(SPINNING + SPINNING_COMMANDS),
        PILUM_KILL_GRACE_MS: String(KILL_GRACE_MS),
      },
    }),
  );
  const timeouts = { runMs: RUN_MS, startMs: 30_000 };
  await pilum.deploy('spins', { code: { inline: SPINS }, timeouts });
  const command = ['/bin/sh', '-c', 'read -r marker; echo spinning $marker >&2; while :; do :; done'];
  await pilum.deploy('spins-too', { command, timeouts });
});

const instances = async () =>
  (await pilum.call('GET', '/v1/instances')).json.instances as { instanceId: string; artifactId: string }[];

describe('sixteen tasks that spin', () => {
  it('are ended at their run timeout, with all that they started, and replaced', async () => {
    const marker = uniqueMarker();
    // Warm: what is measured is the run, and not how long a start takes while others spin.
    await Promise.all(Array.from({ length: SPINNING }, () => pilum.invoke('spins', { waitMs: 2000 })));
    const since = performance.now();
    const answers = await Promise.all([
      ...Array.from({ length: SPINNING }, () => pilum.invoke('spins', { marker })),
      ...Array.from({ length: SPINNING_COMMANDS }, () => pilum.invoke('spins-too', `${marker}\n`)),
    ]);
    const elapsedMs = performance.now() - since;
    expect(elapsedMs).toBeGreaterThanOrEqual(RUN_MS);

    for (const { status, body } of answers) {
      expect([status, body.status, body.error?.code]).toEqual([504, 'timeout', 'TASK_TIMEOUT']);
      const ranMs = Number(body.error?.details?.ranMs);
      expect(ranMs).toBeGreaterThanOrEqual(RUN_MS - 5);
      expect(body.timing.runMs).toBeCloseTo(ranMs, -1);
      expect((await pilum.call('GET', `/v1/tasks/${body.taskId}/logs`)).text).toContain(`spinning ${marker}`);
    }

    await waitFor(() => processesWith(marker).length === 0, {
      what: 'the end of all processes',
    });
    const ended = new Set(answers.map(({ body }) => body.instanceId));
    expect(ended.size).toBe(SPINNING + SPINNING_COMMANDS);
    const next = await pilum.invoke('spins', { waitMs: 1 });
    expect(next.body).toMatchObject({ status: 'completed', result: 'waited', timing: { coldStart: true } });
    // The list is as old as the last heartbeat.
    await waitFor(async () => (await instances()).some(({ instanceId }) => instanceId === next.body.instanceId), {
      what: 'the new instance on the list',
    });
    expect((await instances()).filter(({ instanceId }) => ended.has(instanceId))).toEqual([]);
  });
});
