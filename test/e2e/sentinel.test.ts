// @set whole
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { TestSentinels } from '../support/sentinels.ts';
import { waitFor } from '../support/wait-for.ts';

/** What a replica may be behind by when its primary is killed, ms: with a second, a machine that is held up passes as well. */
const BEHIND_MS = 1000;

interface Accepted {
  readonly taskId: string;
  readonly at: number;
}

describe('Redis behind Sentinels', () => {
  let sentinels: TestSentinels;
  let pilum: TestPilum;
  const kept = keep();
  beforeAll(async () => {
    sentinels = kept.add(await TestSentinels.start());
    pilum = kept.add(
      await startPilum({
        workers: 2,
        env: { PILUM_REDIS_SENTINEL_PASSWORD: sentinels.sentinelPassword },
        usersOf: async () => ({ api: sentinels.url, worker: sentinels.url }),
      }),
    );
    await pilum.deploy('echo', { code: { inline: 'export default (event) => event' } });
  });

  const isAnswered = async () => (await pilum.invoke('echo', 1, '?wait=1s')).body?.status === 'completed';

  /** Calls for as long as it is told, and notes what was accepted. */
  function calling(until: AbortSignal): { readonly accepted: Accepted[]; readonly done: Promise<void> } {
    const accepted: Accepted[] = [];
    const done = (async () => {
      while (!until.aborted) {
        const answer = await pilum.call('POST', '/v1/artifacts/echo/invoke?mode=async', { body: accepted.length });
        if (answer.status === 202) accepted.push({ taskId: answer.json.taskId, at: performance.now() });
        else expect(answer.status).toBe(503);
        await sleep(5);
      }
    })();
    return { accepted, done };
  }

  async function outcomesOf(accepted: readonly Accepted[]): Promise<void> {
    for (const { taskId } of accepted) {
      const answer = await waitFor(
        async () => {
          const task = await pilum.call('GET', `/v1/tasks/${taskId}?wait=5s`);
          return task.status === 200 && task.json.status === 'completed' && task;
        },
        { what: `the end of ${taskId}` },
      );
      expect(answer.json.status).toBe('completed');
    }
  }

  it.each<['SIGKILL' | 'SIGSTOP']>([['SIGKILL'], ['SIGSTOP']])(
    'goes on at the next primary after %s of the first, without a restart, and loses nothing that the replica had',
    async (signal) => {
      await waitFor(isAnswered, { what: 'an answer before' });
      const first = await sentinels.primaryPort();
      const over = new AbortController();
      const { accepted, done } = calling(over.signal);
      await waitFor(() => accepted.length > 50, { what: 'some tasks' });
      await sleep(BEHIND_MS);
      const began = performance.now();
      sentinels.signal(first, signal);
      const before = accepted.filter(({ at }) => at < began - BEHIND_MS);
      await waitFor(() => accepted.some(({ at }) => at > began + 500), {
        what: 'a task that the next primary has accepted',
      });
      await waitFor(isAnswered, { what: 'an answer from the next primary' });
      over.abort();
      await done;
      expect(await sentinels.primaryPort()).not.toBe(first);
      await outcomesOf(before);
      await outcomesOf(accepted.filter(({ at }) => at > began + 500).slice(-20));
      const parts = [pilum.api, ...pilum.workers];
      expect(await Promise.race([...parts.map(({ ended }) => ended), sleep(50, 'all live')])).toBe('all live');
      if (signal === 'SIGSTOP') sentinels.signal(first, 'SIGCONT');
      else await sentinels.restart(first);
      // It comes back as what it was, and nobody stays with it.
      await waitFor(async () => (await sentinels.role(first)) === 'slave', { what: 'the first primary as a replica' });
      await waitFor(isAnswered, { what: 'an answer after' });
    },
  );
});
