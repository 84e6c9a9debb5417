import { expect, test } from 'vitest';
import type { Answer, Bench, Deployment, TestInstance } from './runtime-under-test.ts';

/** What is allowed beyond the deadline, ms. */
const SLACK_MS = 50;
/** A machine that is busy holds up a call now and then, and not each of so many in a row. */
const TRIES = 25;
const RUN_MS = 300;

const hostile = (harm: string, more: Deployment = {}): Deployment => ({
  protocol: 'wasi',
  entry: 'hostile.wasm',
  command: ['hostile', harm],
  ...more,
});

/** Modules that do harm: each ends as it should, when it should, and the slot beside it goes on. */
export function harmContract(bench: () => Bench): void {
  /** The answer of a call with a run timeout, once it came within the slack; the last one's lateness else. */
  async function inTime(instance: TestInstance): Promise<Answer> {
    let lateMs = 0;
    for (let turn = 0; turn < TRIES; turn++) {
      const since = performance.now();
      const answer = await instance.call({}, { deadlineMs: Date.now() + RUN_MS });
      lateMs = performance.now() - since - RUN_MS;
      if (lateMs <= SLACK_MS) return answer;
    }
    throw new Error(`it ended ${lateMs} ms after its deadline`);
  }

  test.for(['loop', 'sleep', 'memory-for-ever', 'log', 'empty-lines'])(
    'what does not end (%s) is ended at its deadline',
    async (harm) => {
      const instance = await bench().start(hostile(harm, { limits: { memoryMiB: 16 } }));
      const { error } = await inTime(instance);
      expect(error).toMatchObject({ code: 'TASK_TIMEOUT' });
    },
  );

  test('a function that does not end is ended at its deadline', async () => {
    const instance = await bench().start({ protocol: 'wasi', entry: 'library.wasm#spin' });
    expect((await inTime(instance)).error).toMatchObject({ code: 'TASK_TIMEOUT' });
  });

  test('a table that grows for ever grows to a limit, and ends at its deadline', async () => {
    const bomb = await bench().start({ protocol: 'wasi', entry: 'table-bomb.wasm' });
    expect((await inTime(bomb)).error).toMatchObject({ code: 'TASK_TIMEOUT' });
    const grower = await bench().start({ protocol: 'wasi', entry: 'table-grower.wasm#grow' });
    expect((await grower.call([1000])).value).toBe(1001);
    expect((await grower.call([1_000_000])).value).toBe(1);
  });

  test('what takes all memory is OUT_OF_MEMORY, and the next task has it again', async () => {
    const instance = await bench().start(hostile('memory', { limits: { memoryMiB: 32 } }));
    for (let turn = 0; turn < 3; turn++) {
      const { error } = await instance.call({});
      expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', message: expect.stringContaining('memory') });
    }
  });

  test('a result above limits.outputMiB is OUTPUT_TOO_LARGE', async () => {
    const instance = await bench().start(hostile('output', { limits: { outputMiB: 1 } }));
    expect((await instance.call({})).error).toMatchObject({ code: 'OUTPUT_TOO_LARGE' });
  });

  test.for(['recursion', 'shadow'])('%s without end fails the task and nothing else', async (harm) => {
    const instance = await bench().start(hostile(harm));
    const { error } = await instance.call({});
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED' });
    expect((await (await bench().start(hostile('exit-early'))).call({})).value).toBe('done');
  });

  test('what wants random numbers without end is ended, by its deadline or for its wish', async () => {
    const instance = await bench().start(hostile('random'));
    expect((await inTime(instance)).error?.code).toMatch(/TASK_TIMEOUT|FUNCTION_FAILED/);
  });

  test('addresses outside of its memory do a module no good and the engine no harm', async () => {
    const instance = await bench().start(hostile('bad-addresses'));
    const { error, value } = await instance.call({});
    if (error === undefined) expect(value).toBe('alive');
    else expect(error).toMatchObject({ code: 'FUNCTION_FAILED' });
    expect(await instance.instance.check(5000)).toBe(true);
  });

  test('a slot that was ended at its deadline is as good as new', async () => {
    const instance = await bench().start(hostile('loop'));
    for (let turn = 0; turn < 3; turn++) {
      const { error } = await instance.call({}, { deadlineMs: Date.now() + 50 });
      expect(error).toMatchObject({ code: 'TASK_TIMEOUT' });
    }
    expect(await instance.instance.check(5000)).toBe(true);
  });

  test('what prints without end costs the worker bounded memory and little CPU', async () => {
    const instance = await bench().start(hostile('log'));
    const before = { rss: process.memoryUsage.rss(), cpu: process.cpuUsage(), at: performance.now() };
    const { error, log } = await instance.call({}, { deadlineMs: Date.now() + 2000 });
    expect(error).toMatchObject({ code: 'TASK_TIMEOUT' });
    expect(log.length).toBeGreaterThan(10);
    const busy = process.cpuUsage(before.cpu);
    const share = (busy.user + busy.system) / 1000 / (performance.now() - before.at);
    expect((process.memoryUsage.rss() - before.rss) / 1_048_576).toBeLessThan(64);
    expect(share).toBeLessThan(0.3);
  });
}
