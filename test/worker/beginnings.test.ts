import { expect, test, vi } from 'vitest';
import { Beginnings } from '../../apps/worker/src/tasks/beginnings.ts';

const QUIET_MS = 10_000;
const never = new AbortController().signal;

/** With a clock that is the test's. */
async function timed(run: (deps: { beginnings: Beginnings; pass: (ms: number) => Promise<void> }) => Promise<void>) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  try {
    const pass = async (ms: number) => void (await vi.advanceTimersByTimeAsync(ms));
    await run({ beginnings: new Beginnings(QUIET_MS), pass });
  } finally {
    vi.useRealTimers();
  }
}

/** Whether a promise has been kept by now. */
function seen<T>(promise: Promise<T>): { value: T | null; error: unknown } {
  const state: { value: T | null; error: unknown } = { value: null, error: null };
  promise.then(
    (value) => {
      state.value = value;
    },
    (error: unknown) => {
      state.error = error;
    },
  );
  return state;
}

test('tasks that are under no suspicion begin at once, side by side', () => {
  const beginnings = new Beginnings(QUIET_MS);
  const all = [beginnings.tryBegin(), beginnings.tryBegin(), beginnings.tryBegin()];
  expect(all).not.toContain(null);
  for (const one of all) one?.over();
});

test('a suspect begins when what began lately has ended or grown old, and nothing else begins meanwhile', async () => {
  await timed(async ({ beginnings, pass }) => {
    const old = beginnings.tryBegin();
    await pass(QUIET_MS);
    const young = beginnings.tryBegin();
    const suspect = seen(beginnings.beginAlone(never, () => {}));
    await pass(1000);
    expect(suspect.value).toBe(null);
    expect(beginnings.tryBegin()).toBe(null);
    const late = seen(beginnings.begin(never));
    young?.over();
    await pass(0);
    expect(suspect.value).not.toBe(null);
    expect(late.value).toBe(null);
    suspect.value?.over();
    await pass(0);
    expect(late.value).not.toBe(null);
    old?.over();
  });
});

test('a suspect that runs long is told, and others begin beside it', async () => {
  await timed(async ({ beginnings, pass }) => {
    let told = 0;
    const young = beginnings.tryBegin();
    const suspect = seen(beginnings.beginAlone(never, () => told++));
    await pass(QUIET_MS - 1);
    expect(suspect.value).toBe(null);
    await pass(1);
    expect(suspect.value).not.toBe(null);
    await pass(QUIET_MS - 1);
    expect([told, beginnings.tryBegin()]).toEqual([0, null]);
    await pass(1);
    expect(told).toBe(1);
    expect(beginnings.tryBegin()).not.toBe(null);
    suspect.value?.over();
    young?.over();
    expect(told).toBe(1);
  });
});

test('suspects have their turns one after the other, and others begin for as long in between', async () => {
  await timed(async ({ beginnings, pass }) => {
    const first = seen(beginnings.beginAlone(never, () => {}));
    const second = seen(beginnings.beginAlone(never, () => {}));
    await pass(5000);
    expect([first.value !== null, second.value]).toEqual([true, null]);
    first.value?.over();
    await pass(4999);
    expect(second.value).toBe(null);
    const other = beginnings.tryBegin();
    expect(other).not.toBe(null);
    await pass(2);
    expect(beginnings.tryBegin()).toBe(null);
    other?.over();
    await pass(0);
    expect(second.value).not.toBe(null);
    second.value?.over();
    expect(beginnings.tryBegin()).not.toBe(null);
  });
});

test('whoever gives up waiting leaves the way free for others', async () => {
  await timed(async ({ beginnings, pass }) => {
    const young = beginnings.tryBegin();
    const stop = new AbortController();
    const first = seen(beginnings.beginAlone(stop.signal, () => {}));
    const second = seen(beginnings.beginAlone(stop.signal, () => {}));
    const third = seen(beginnings.beginAlone(never, () => {}));
    await pass(10);
    const other = seen(beginnings.begin(stop.signal));
    stop.abort(new Error('enough'));
    await pass(10);
    for (const { error } of [first, second, other]) expect(error).toMatchObject({ message: 'enough' });
    young?.over();
    await pass(20);
    expect(third.value).not.toBe(null);
    third.value?.over();
    expect(beginnings.tryBegin()).not.toBe(null);
  });
});
