import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { beforeAll, describe, expect, test } from 'vitest';
import { labelOf, readOwner } from '../../../apps/worker/src/ownership/owner.ts';
import { identify } from '../../../apps/worker/src/ownership/process-identity.ts';
import type { CgroupDriver } from '../../../apps/worker/src/runtimes/sandbox/cgroup/cgroup.ts';
import { detectCgroups } from '../../../apps/worker/src/runtimes/sandbox/cgroup/detect.ts';
import { processesWith, uniqueMarker } from '../../conformance/processes.ts';
import { keep } from '../../support/kept.ts';
import { startPilum, type TestProcess } from '../../support/pilum.ts';
import { waitFor } from '../../support/wait-for.ts';

const LEAVES_DAEMON = readFileSync(new URL('../../fixtures/functions/leaves-daemon.mjs', import.meta.url), 'utf8');

let groups: CgroupDriver | null;
const kept = keep();
beforeAll(async () => {
  groups = await detectCgroups(pino({ level: 'silent' }));
  // Of another installation: it shares the machine with the ones below, and nothing else.
  kept.add(await startPilum());
});

const groupsOf = async (label: string) =>
  ((await groups?.list()) ?? []).filter((name) => name.startsWith(`${label}.`) && !name.endsWith('.probe'));

async function labelOfProcess({ pid }: TestProcess): Promise<string> {
  const identity = await identify(pid);
  if (identity === null) throw new Error('the worker does not run');
  return labelOf({ ...(await readOwner()), ...identity });
}

describe.each(['sandbox', 'none'] as const)('what a killed worker leaves (%s)', (isolation) => {
  test('is removed by any live worker of the machine; what a stopped one has is not', async () => {
    const pilum = await startPilum({ workers: 0, env: { PILUM_ISOLATION: isolation } });
    try {
      const [lost, kept] = [uniqueMarker(), uniqueMarker()];
      const leave = async (marker: string) => {
        expect((await pilum.invoke('leaves', { marker })).body.status).toBe('completed');
        await waitFor(() => processesWith(marker).length > 0, { what: 'the daemon' });
      };
      await pilum.deploy('leaves', { code: { inline: LEAVES_DAEMON } });
      const stopped = await pilum.addWorker();
      await leave(kept);
      stopped.signal('SIGSTOP');
      const killed = await pilum.addWorker();
      await leave(lost);
      const [ofStopped, ofKilled] = [await labelOfProcess(stopped), await labelOfProcess(killed)];
      if (groups !== null) expect((await groupsOf(ofKilled)).length).toBeGreaterThan(0);
      const before = await groupsOf(ofStopped);

      killed.signal('SIGKILL');
      await killed.ended;
      if (groups !== null || isolation === 'sandbox') {
        await waitFor(() => processesWith(lost).length === 0, { what: 'the end of all processes' });
      }
      await waitFor(async () => (await groupsOf(ofKilled)).length === 0, {
        what: 'the end of all cgroups',
      });

      await sleep(5000);
      expect(processesWith(kept).length).toBeGreaterThan(0);
      expect(await groupsOf(ofStopped)).toEqual(before);
    } finally {
      for (const worker of pilum.workers) worker.signal('SIGCONT');
      await pilum.close();
    }
  });
});
