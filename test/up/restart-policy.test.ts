import { EXIT_CONFIGURATION as EXIT_CONFIGURATION_OF_PARTS } from '@pilum/core/config/read-configuration.ts';
import { expect, it } from 'vitest';
import { EXIT_CONFIGURATION, judge } from '../../apps/up/src/restart-policy.ts';

const crash = { code: 1, signal: null };
const killed = { code: null, signal: 'SIGKILL' } as const;

it('restarts more and more slowly, from 100 ms to 5 s', () => {
  const delays: number[] = [];
  let restarts = 0;
  for (let n = 0; n < 8; n++) {
    const verdict = judge({ ending: killed, everReady: true, readyForMs: 10, restarts });
    if (verdict.action !== 'restart') throw new Error(verdict.reason);
    delays.push(verdict.delayMs);
    restarts = verdict.restarts;
  }
  expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
});

it('begins anew with a part that was ready for 30 s', () => {
  expect(judge({ ending: crash, everReady: true, readyForMs: 30_000, restarts: 7 })).toEqual({
    action: 'restart',
    delayMs: 100,
    restarts: 1,
  });
  expect(judge({ ending: crash, everReady: true, readyForMs: 29_999, restarts: 7 })).toMatchObject({ delayMs: 5000 });
});

it('does not overflow after many restarts', () => {
  expect(judge({ ending: crash, everReady: true, readyForMs: 0, restarts: 100_000 })).toMatchObject({ delayMs: 5000 });
});

it('starts a part again that ended with exit code 0, because nobody asked it to', () => {
  expect(judge({ ending: { code: 0, signal: null }, everReady: true, readyForMs: 1, restarts: 0 })).toMatchObject({
    action: 'restart',
  });
});

it('gives up on a configuration error, even of a part that was ready before', () => {
  const ending = { code: 78, signal: null };
  expect(judge({ ending, everReady: true, readyForMs: 60_000, restarts: 0 })).toEqual({
    action: 'give up',
    reason: 'configuration',
  });
});

it('knows a configuration error by the exit code that the parts use', () => {
  expect(EXIT_CONFIGURATION).toBe(EXIT_CONFIGURATION_OF_PARTS);
});

it('gives up on a part that has never been ready', () => {
  expect(judge({ ending: crash, everReady: false, readyForMs: 0, restarts: 0 })).toEqual({
    action: 'give up',
    reason: 'never ready',
  });
});
