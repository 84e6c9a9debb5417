import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Throttle } from '../../../apps/worker/src/runtimes/protocols/output/throttle.ts';
import { waitFor } from '../../support/wait-for.ts';

const reading = () => new PassThrough().on('data', () => {});

test('a stream that spends more than the budget is paused, and goes on by itself', async () => {
  const throttle = new Throttle();
  const stream = reading();
  throttle.add(stream);
  throttle.spend(1000);
  expect(stream.isPaused()).toBe(false);
  throttle.spend(1.2 * 1024 * 1024);
  expect(stream.isPaused()).toBe(true);
  const late = reading();
  throttle.add(late);
  expect(late.isPaused()).toBe(true);
  await waitFor(() => !stream.isPaused() && !late.isPaused());
});

test('a lifted throttle never pauses again', () => {
  const throttle = new Throttle();
  const stream = reading();
  throttle.add(stream);
  throttle.spend(1e9);
  throttle.lift();
  expect(stream.isPaused()).toBe(false);
  throttle.spend(1e9);
  expect(stream.isPaused()).toBe(false);
});
