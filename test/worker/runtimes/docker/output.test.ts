import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench } from '../../../conformance/runtime-under-test.ts';
import { whyNoEngine } from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';
import { waitFor } from '../../../support/wait-for.ts';

const why = await whyNoEngine();

describe.skipIf(why !== null)('the output of a container', () => {
  let bench: Bench;
  const kept = keep();
  beforeAll(async () => {
    bench = kept.add(await Bench.of(await dockerUnderTest()), (b) => b.open.close());
  });
  afterEach(() => bench.clear());

  test('a command that floods its log waits, and neither the worker nor another function feels it', async () => {
    const flood = await bench.start({ command: ['/bin/sh', '-c', 'exec yes flood >&2'] });
    const other = await bench.start({ entry: 'echo.mjs' });
    const call = flood.call({}).catch((error) => error);
    await waitFor(() => flood.log.length > 1000);
    const before = { rss: process.memoryUsage.rss(), cpu: process.cpuUsage(), at: performance.now() };
    while (performance.now() - before.at < 2000) expect((await other.call({ a: 1 })).value).toEqual({ a: 1 });
    expect((process.memoryUsage.rss() - before.rss) / 1024 / 1024).toBeLessThan(64);
    await flood.stop(0);
    expect(await call).toMatchObject({ code: 'INSTANCE_LOST' });
  });

  test('a command that closes its streams early is waited for, and its exit code counts', async () => {
    const closes = (code: number) =>
      bench.once({ command: ['/bin/sh', '-c', `echo result; exec >&- 2>&- <&-; sleep 0.5; exit ${code}`] });
    expect(await closes(0)).toMatchObject({ ok: true, value: 'result\n' });
    expect((await closes(3)).error).toMatchObject({ code: 'FUNCTION_FAILED', details: { exitCode: 3 } });
  });

  test('a handler that closes its streams answers all the same', async () => {
    const instance = await bench.start({ entry: 'closes-streams.mjs' });
    for (let turn = 0; turn < 2; turn++) expect((await instance.call({})).value).toBe('answered');
  });

  test('a command that leaves a child with its streams open is over when it has ended', async () => {
    const { value } = await bench.once({ command: ['/bin/sh', '-c', 'sleep 1000 & echo done'] });
    expect(value).toBe('done\n');
  });

  test('a payload of megabytes and a result of megabytes pass each other', async () => {
    const instance = await bench.start({ command: ['cat'] });
    const payload = Buffer.alloc(8 * 1024 * 1024, 'pilum');
    const { body } = await instance.call(null, { payload });
    expect(body.equals(payload)).toBe(true);
  });
});
