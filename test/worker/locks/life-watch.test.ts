import { expect, test } from 'vitest';
import { HUNG_MS, LIFE_INTERVAL_MS, SILENT_MS, Watchdog } from '../../../apps/worker/src/locks/watchdog.ts';

/** Looks at the counter for so long, as the thread does. */
function lookOn(watch: Watchdog, counter: number, fromMs: number, forMs: number): number {
  let now = fromMs;
  while (now < fromMs + forMs) {
    now += LIFE_INTERVAL_MS;
    watch.look(counter, now);
  }
  return now;
}

test('a loop that turns is neither silent nor hung', () => {
  const watch = new Watchdog(0, 0);
  for (let turn = 1; turn < 1000; turn++) watch.look(turn, turn * LIFE_INTERVAL_MS);
  expect(watch.silentMs).toBe(0);
  expect(watch.watchedSilenceMs).toBe(0);
});

test('a loop that hangs is silent, then hung', () => {
  const watch = new Watchdog(7, 0);
  const now = lookOn(watch, 7, 0, SILENT_MS + LIFE_INTERVAL_MS);
  expect(watch.silentMs).toBeGreaterThan(SILENT_MS);
  expect(watch.watchedSilenceMs).toBeLessThan(HUNG_MS);
  lookOn(watch, 7, now, HUNG_MS);
  expect(watch.watchedSilenceMs).toBeGreaterThanOrEqual(HUNG_MS);
});

test('one sign of life makes up for all silence', () => {
  const watch = new Watchdog(7, 0);
  const now = lookOn(watch, 7, 0, HUNG_MS - LIFE_INTERVAL_MS);
  watch.look(8, now + LIFE_INTERVAL_MS);
  expect([watch.silentMs, watch.watchedSilenceMs]).toEqual([0, 0]);
});

test('whoever was stopped with it does not hold the pause against it, and yet knows that its word is old', () => {
  const watch = new Watchdog(7, 0);
  watch.look(7, 3_600_000);
  expect(watch.silentMs).toBe(3_600_000);
  expect(watch.watchedSilenceMs).toBeLessThanOrEqual(1000);
});
