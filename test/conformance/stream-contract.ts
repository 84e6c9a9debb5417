import { setTimeout as sleep } from 'node:timers/promises';
import { FRAME_KINDS, type FrameKind, type PackedFrames, unpackFrames } from '@pilum/core/schemas/frame.ts';
import { expect, test } from 'vitest';
import { CallStopped } from '../../apps/worker/src/runtimes/contract/call-stopped.ts';
import type { ChunkSink } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { waitFor } from '../support/wait-for.ts';
import type { Bench, Deployment } from './runtime-under-test.ts';

const python = (name: string): Deployment => ({ language: 'python', entry: `main.py#${name}` });
const YIELDS = { node: { entry: 'yields.mjs' }, python: python('yields') };
const PLAIN = { node: { entry: 'yields.mjs#plain' }, python: python('plain') };
const LANGUAGES = ['node', 'python'] as const;
/** Longer than any test waits. */
const NEVER_MS = 3_600_000;

/** Takes chunks, and lets the function on as the test wants. */
export class Taken implements ChunkSink {
  readonly list: { kind: FrameKind; payload: Buffer }[] = [];
  /** Null: as fast as it can. */
  wait: Promise<void> | null = null;

  take({ bytes, count }: PackedFrames): Promise<void> | null {
    const frames = unpackFrames(Buffer.from(bytes));
    expect(frames).toHaveLength(count);
    this.list.push(...frames);
    return this.wait;
  }

  get bytes(): number {
    return this.list.reduce((sum, { payload }) => sum + payload.length, 0);
  }

  get values(): unknown[] {
    return this.list.map(({ kind, payload }) =>
      kind === FRAME_KINDS.json
        ? JSON.parse(payload.toString())
        : kind === FRAME_KINDS.text
          ? payload.toString()
          : payload,
    );
  }
}

/** What becomes of what a function yields: piece by piece for a streamed call, whole for any other. */
export function streamContract(bench: () => Bench): void {
  test.for(LANGUAGES)(
    'what a %s function yields comes as JSON, text or bytes, and what it returns is the result',
    async (l) => {
      const instance = await bench().start(YIELDS[l]);
      const taken = new Taken();
      const answer = await instance.call({ kind: 'values' }, { chunks: taken });
      expect(taken.values).toEqual([{ i: 1 }, 'grüße 🌍', Buffer.from([0, 255]), null]);
      expect(answer).toMatchObject({ ok: true, streamed: true, value: { total: 4 } });
      expect((await instance.call({ kind: 'nothing' }, { chunks: new Taken() })).value).toBeNull();
    },
  );

  test.for(LANGUAGES)('a %s iterator of another kind is a stream as well', async (language) => {
    const taken = new Taken();
    const instance = await bench().start(PLAIN[language]);
    await instance.call({}, { chunks: taken });
    expect(taken.values).toEqual([1, 2]);
  });

  test.for(LANGUAGES)('each chunk of a %s function comes as it is yielded', async (language) => {
    const taken = new Taken();
    const instance = await bench().start(YIELDS[language]);
    const call = instance.call({ kind: 'slow', count: 2, ms: NEVER_MS }, { chunks: taken });
    call.catch(() => undefined);
    await waitFor(() => taken.list.length > 0, { what: 'the chunk before it waits' });
    expect(taken.values).toEqual([{ i: 1 }]);
    await instance.instance.stop({ graceMs: 0 });
  });

  test.for(LANGUAGES)('a %s caller who does not stream gets all of it: text, bytes or an array', async (language) => {
    const instance = await bench().start(YIELDS[language]);
    expect(await instance.call({ kind: 'text' })).toMatchObject({
      contentType: 'text/plain; charset=utf-8',
      value: 'one two',
    });
    expect((await instance.call({ kind: 'bytes' })).body).toEqual(Buffer.from([1, 2, 3]));
    expect((await instance.call({ kind: 'values' })).value).toEqual([{ i: 1 }, 'grüße 🌍', { base64: 'AP8=' }, null]);
    expect((await instance.call({ kind: 'nothing' })).value).toEqual([]);
    const tooMuch = await instance.call({ kind: 'many', count: 20_000, size: 1000 });
    expect(tooMuch.error).toMatchObject({ code: 'OUTPUT_TOO_LARGE' });
    expect((await instance.call({ kind: 'text' })).value).toBe('one two');
  });

  test.for(LANGUAGES)('ten thousand chunks of a %s function come in order, each once', async (language) => {
    const taken = new Taken();
    const instance = await bench().start(YIELDS[language]);
    await instance.call({ kind: 'many', count: 10_000 }, { chunks: taken });
    expect(taken.values.map((value) => (value as { i: number }).i)).toEqual(
      Array.from({ length: 10_000 }, (_, i) => i + 1),
    );
  });

  test.for(LANGUAGES)(
    'a %s function waits where nobody takes what it yields, and goes on when somebody does',
    async (language) => {
      const taken = new Taken();
      const { promise, resolve } = Promise.withResolvers<void>();
      taken.wait = promise;
      const instance = await bench().start(YIELDS[language]);
      const call = instance.call({ kind: 'many', count: 2000, size: 1000 }, { chunks: taken });
      await waitFor(() => taken.bytes > 200 * 1024, { what: 'the first chunks' });
      await sleep(300); // it would have given everything by now
      expect(taken.bytes).toBeLessThan(400 * 1024);
      taken.wait = null;
      resolve();
      await call;
      expect(taken.list).toHaveLength(2000);
    },
  );

  test.for(LANGUAGES)('long text of a %s function comes in whole characters', async (language) => {
    const taken = new Taken();
    const instance = await bench().start(YIELDS[language]);
    await instance.call({ kind: 'large', count: 700_001 }, { chunks: taken });
    expect(taken.list.length).toBeGreaterThan(1);
    expect(taken.values.join('')).toBe('ü'.repeat(700_001));
    const { error } = await instance.call({ kind: 'large-json', count: 2_000_000 }, { chunks: new Taken() });
    expect(error).toMatchObject({ code: 'OUTPUT_TOO_LARGE' });
    expect(error?.message).toContain('1048576');
  });

  test.for(LANGUAGES)('a %s function that fails between two chunks says so after the first', async (language) => {
    const taken = new Taken();
    const instance = await bench().start(YIELDS[language]);
    const { error } = await instance.call({ kind: 'fails' }, { chunks: taken });
    expect(taken.values).toEqual([1]);
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', details: { type: 'TypeError', message: 'in the middle' } });
    expect(error?.details?.stack).not.toContain('bootstrap');
    const unwritable = await instance.call({ kind: 'bigint' }, { chunks: new Taken() });
    expect(unwritable.error?.message).toContain('cannot be written as JSON');
    expect((await instance.call({ kind: 'text' })).value).toBe('one two');
  });

  test.for(LANGUAGES)('a %s function says how far it is', async (language) => {
    const said: string[] = [];
    const instance = await bench().start(YIELDS[language]);
    await instance.call({ kind: 'progress' }, { progress: (json) => said.push(json) });
    expect(said.map((json) => JSON.parse(json))).toEqual([{ done: 1 }, { done: 2 }]);
  });

  test.for(LANGUAGES)('a %s generator that is stopped while it waits runs its finally blocks', async (language) => {
    const taken = new Taken();
    taken.wait = new Promise(() => {});
    const stop = new AbortController();
    const instance = await bench().start(YIELDS[language]);
    const call = instance.call({ kind: 'ends' }, { chunks: taken, signal: stop.signal });
    call.catch(() => undefined);
    await waitFor(() => taken.bytes > 200 * 1024, { what: 'chunks until it has to wait' });
    stop.abort(new CallStopped('TaskCancelled'));
    await instance.instance.stop({ graceMs: 5000 });
    expect(instance.log.map(({ text }) => text)).toContain('it was ended');
  });

  test('a command is streamed as it prints', async () => {
    const taken = new Taken();
    const script = "echo one; printf 'gr\\303\\274n'; printf '\\377'; echo log >&2";
    const instance = await bench().start({ command: ['/bin/sh', '-c', script] });
    const answer = await instance.call({}, { chunks: taken });
    expect(answer).toMatchObject({ ok: true, streamed: true, value: null });
    const all = Buffer.concat(taken.list.map(({ payload }) => payload));
    expect(all).toEqual(Buffer.concat([Buffer.from('one\ngrün'), Buffer.from([0xff])]));
    expect(answer.log.map(({ text }) => text)).toEqual(['log']);

    const begun = new Taken();
    const waits = await bench().start({ command: ['/bin/sh', '-c', "printf 'gr\\303'; exec sleep 100000"] });
    const call = waits.call({}, { chunks: begun });
    call.catch(() => undefined);
    await waitFor(() => begun.list.length > 0, { what: 'what it printed before it waits' });
    // Half of a character waits for the rest of it.
    expect(begun.values).toEqual(['gr']);
    await waits.instance.stop({ graceMs: 0 });
  });

  test('a command that prints for ever waits for whoever takes it, and is not ended for the size of its output', async () => {
    const taken = new Taken();
    const { promise, resolve } = Promise.withResolvers<void>();
    taken.wait = promise;
    const script = 'head -c 3000000 /dev/zero';
    const instance = await bench().start({ command: ['/bin/sh', '-c', script], limits: { outputMiB: 1 } });
    const call = instance.call({}, { chunks: taken });
    await waitFor(() => taken.bytes > 0, { what: 'its first output' });
    await sleep(300); // it would have printed everything by now
    expect(taken.bytes).toBeLessThan(1_000_000);
    taken.wait = null;
    resolve();
    expect((await call).ok).toBe(true);
    expect(taken.bytes).toBe(3_000_000);
  });

  test('a function that writes chunks without waiting for credit is ended', async () => {
    const instance = await bench().start({ entry: 'channel.mjs' });
    const taken = new Taken();
    taken.wait = new Promise(() => {});
    const { error } = await instance.call({ kind: 'chunks' }, { chunks: taken });
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', details: { type: 'Protocol' } });
    expect(taken.bytes).toBeLessThan(2 * 1_048_576);
  });
}
