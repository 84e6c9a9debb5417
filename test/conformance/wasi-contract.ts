import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { CallStopped } from '../../apps/worker/src/runtimes/contract/call-stopped.ts';
import { waitFor } from '../support/wait-for.ts';
import { rustMissing } from '../support/wasm-modules.ts';
import type { Bench, Deployment } from './runtime-under-test.ts';
import { Taken } from './stream-contract.ts';

const withoutRust = (await rustMissing()) !== null;

const wasi = (entry: string, more: Deployment = {}): Deployment => ({ protocol: 'wasi', entry, ...more });
const hostile = (harm: string, more: Deployment = {}) => wasi('hostile.wasm', { command: ['hostile', harm], ...more });

/** A command of WASI preview 1: payload on stdin, result on stdout, log on stderr, a fresh memory for every task. */
export function wasiContract(bench: () => Bench): void {
  test('a command gets the payload on stdin and answers on stdout', async () => {
    expect(await bench().once(wasi('echo.wasm'), { text: 'grüße 🌍' })).toMatchObject({
      ok: true,
      contentType: 'application/json',
      value: { text: 'grüße 🌍' },
    });
  });

  test.skipIf(withoutRust)('a command in Rust runs as one in C does', async () => {
    const instance = await bench().start(wasi('words.wasm'));
    const answer = await instance.call(null, { payload: Buffer.from('to be or not to be') });
    expect(answer.value).toEqual({ be: 2, not: 1, or: 1, to: 2 });
    expect(answer.log.map(({ stream, text }) => [stream, text])).toEqual([['stderr', '4 of them']]);
  });

  test('bytes come through as they are, megabytes of them', async () => {
    const instance = await bench().start(wasi('echo.wasm'));
    for (const payload of [randomBytes(100), randomBytes(6 * 1024 * 1024), Buffer.alloc(0)]) {
      const answer = await instance.call(null, { payload });
      expect(answer.body.equals(payload)).toBe(true);
    }
  });

  test('a command sees its arguments, its task and its spec, and nothing else', async () => {
    process.env.WORKERS_SECRET = 'secret';
    const deployment = wasi('about.wasm', { command: ['näme', '--fast', ''], env: { LEVEL: 'hoch 🌍', EMPTY: '' } });
    const { value, log } = await bench().once(deployment);
    const lines = String(value).split('\n').slice(0, -1);
    expect(lines.slice(0, 3)).toEqual(['näme', '--fast', '']);
    const environment = lines.slice(3);
    expect(environment).toContain('LEVEL=hoch 🌍');
    expect(environment).toContain('EMPTY=');
    expect(environment).toContain('PILUM_TASK_ID=test.01J8ZQ5V7N3K4M6P8R9S0T1V2W');
    expect(environment).toContain('PILUM_ATTEMPT=1');
    const others = environment.filter((line) => !/^(PILUM_|LEVEL=|EMPTY=)/.test(line));
    expect(others).toEqual([]);
    expect(log.map(({ stream, level, text }) => [stream, level, text])).toEqual([
      ['stderr', 'error', 'one'],
      ['stderr', 'error', 'two'],
      ['stderr', 'error', 'three'],
    ]);
  });

  test('a command is called by the name of its file where nothing else is said', async () => {
    const { value } = await bench().once(wasi('about.wasm'));
    expect(String(value).split('\n')[0]).toBe('about.wasm');
  });

  test('a command has no files, no directories and no descriptors but its three', async () => {
    const { value } = await bench().once(wasi('files.wasm'));
    expect(value).toMatch(/^\.{89}$/);
  });

  test('an exit code other than 0 is FUNCTION_FAILED with the code and the last lines', async () => {
    expect((await bench().once(hostile('exit'))).error).toMatchObject({
      code: 'FUNCTION_FAILED',
      message: 'The command ended with exit code 7.',
      details: { exitCode: 7, stderr: 'no such table' },
    });
  });

  test('an exit code is any that fits in a byte', async () => {
    expect((await bench().once(hostile('exit-high'))).error).toMatchObject({ details: { exitCode: 200 } });
  });

  test('exit code 0 is success, wherever it is said', async () => {
    expect((await bench().once(hostile('exit-early'))).value).toBe('done');
  });

  test('a trap is FUNCTION_FAILED, says which, and leaves the slot as good as new', async () => {
    const instance = await bench().start(hostile('trap'));
    for (let turn = 0; turn < 2; turn++) {
      const { error } = await instance.call({});
      expect(error).toMatchObject({
        code: 'FUNCTION_FAILED',
        message: expect.stringContaining('unreachable'),
        details: { type: 'Trap', stderr: 'about to trap' },
      });
      expect(instance.instance.reusable).toBe(true);
    }
  });

  test.skipIf(withoutRust)('a panic of Rust is a trap, with what it said', async () => {
    const { error } = await (await bench().start(wasi('words.wasm'))).call(null, { payload: Buffer.alloc(0) });
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', message: expect.stringContaining('unreachable') });
    expect(error?.details?.stderr).toContain('there are no words');
  });

  test('a command is streamed as it prints, in whole characters', async () => {
    const taken = new Taken();
    const instance = await bench().start(hostile('ticks'));
    const answer = await instance.call({}, { chunks: taken });
    expect(answer).toMatchObject({ ok: true, streamed: true, value: null });
    expect(taken.values).toEqual(['one\n', 'gr', 'ün', Buffer.from([0xff])]);
    const whole = await instance.call({});
    expect(whole.body).toEqual(Buffer.concat([Buffer.from('one\ngrün'), Buffer.from([0xff])]));
    expect(whole.streamed).toBeUndefined();
  });

  test('a streamed command waits where nobody takes what it prints, whatever its size', async () => {
    const taken = new Taken();
    const { promise, resolve } = Promise.withResolvers<void>();
    taken.wait = promise;
    const instance = await bench().start(hostile('zeros', { limits: { outputMiB: 1 } }));
    const call = instance.call({}, { chunks: taken });
    await waitFor(() => taken.bytes > 200 * 1024, { what: 'its first output' });
    await sleep(300); // it would have printed everything by now
    expect(taken.bytes).toBeLessThan(400 * 1024);
    taken.wait = null;
    resolve();
    expect((await call).ok).toBe(true);
    expect(taken.bytes).toBe(3_000_000);
  });

  test('a streamed command that waits is stopped', async () => {
    const taken = new Taken();
    taken.wait = new Promise(() => {});
    const instance = await bench().start(hostile('output'));
    const call = expect(instance.call({}, { chunks: taken })).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
    await waitFor(() => taken.bytes > 200 * 1024, { what: 'its first output' });
    await instance.stop(0);
    await call;
  });

  test('a command sleeps for as long as it says, and burns no processor meanwhile', async () => {
    const instance = await bench().start(hostile('sleep-a-little'));
    const since = performance.now();
    expect((await instance.call({})).value).toBe('slept');
    expect(performance.now() - since).toBeGreaterThan(95);
  });

  test('many tasks run at once, each in a memory of its own', async () => {
    const instances = await Promise.all(Array.from({ length: 8 }, () => bench().start(wasi('echo.wasm'))));
    const answers = instances.map(async (instance, index) => {
      for (let turn = 0; turn < 20; turn++) {
        const event = { index, turn, text: 'x'.repeat(1000 * index) };
        expect((await instance.call(event)).value).toEqual(event);
      }
    });
    await Promise.all(answers);
  });

  test('an instance says that it is well, before, during and after a call', async () => {
    const started = await bench().start(hostile('sleep-a-little'));
    const { instance } = started;
    expect(await Promise.all([instance.check(5000), instance.check(5000)])).toEqual([true, true]);
    const call = started.call({});
    expect(await instance.check(5000)).toBe(true);
    await call;
    expect(await instance.check(5000)).toBe(true);
    await started.stop(0);
    expect(await instance.check(5000)).toBe(false);
    await expect(started.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
  });

  test.for(['loop', 'sleep'])(
    'a command that does not end (%s) is stopped, and others do not feel it',
    async (harm) => {
      const instance = await bench().start(hostile(harm));
      const other = await bench().start(wasi('echo.wasm'));
      const call = expect(instance.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
      await waitFor(() => instance.log.length > 0);
      expect((await other.call({ a: 1 })).value).toEqual({ a: 1 });
      await Promise.all([instance.stop(0), instance.stop(0)]);
      await call;
      expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
      expect((await other.call({ a: 2 })).value).toEqual({ a: 2 });
    },
  );

  test('a call is ended where its signal is aborted', async () => {
    const instance = await bench().start(hostile('loop'));
    const abort = new AbortController();
    const call = expect(instance.call({}, { signal: abort.signal })).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
    await waitFor(() => instance.log.length > 0);
    abort.abort(new CallStopped('TaskCancelled'));
    await call;
  });

  test('a closed runtime has ended its instances and starts no more', async () => {
    // Of its own, since the others go on with theirs.
    const closing = await bench().another();
    const instance = await closing.start(hostile('loop'));
    const call = expect(instance.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
    await waitFor(() => instance.log.length > 0);
    await closing.open.close();
    await closing.open.runtime.close();
    await call;
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
    await expect(closing.start(wasi('echo.wasm'))).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });
}
