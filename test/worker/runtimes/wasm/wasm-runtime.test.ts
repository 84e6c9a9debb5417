import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SharedLoss } from '../../../../apps/worker/src/runtimes/contract/runtime.ts';
import { WASMTIME_ADDON } from '../../../../apps/worker/src/runtimes/registry.ts';
import { Sandboxes } from '../../../../apps/worker/src/runtimes/sandbox/sandboxes.ts';
import { chooseStagingDirectory } from '../../../../apps/worker/src/runtimes/sandbox/staging.ts';
import { createWasmRuntime } from '../../../../apps/worker/src/runtimes/wasm/wasm-runtime.ts';
import { processesWith } from '../../../conformance/processes.ts';
import { Bench, TestInstance } from '../../../conformance/runtime-under-test.ts';
import { openWasm, wasmUnderTest } from '../../../conformance/wasm-under-test.ts';
import { writeOddModules } from '../../../support/module-bytes.ts';
import { temporaryDirectory } from '../../../support/temporary-directory.ts';
import { waitFor } from '../../../support/wait-for.ts';

const wasmtime = await wasmUnderTest('wasmtime');
const GROW = { protocol: 'wasi', entry: 'table-grower.wasm#grow' } as const;

describe.skipIf(wasmtime.unavailable !== null)('compiled modules', () => {
  let open: Awaited<ReturnType<typeof openWasm>>;
  let bench: Bench;
  beforeEach(async () => {
    open = await openWasm('wasmtime');
    await mkdir(open.codeDirectory, { recursive: true });
    writeOddModules(open.codeDirectory);
    bench = await Bench.of({ ...wasmtime, open: () => Promise.resolve(open) });
  });
  afterEach(() => open.close());

  const compiled = () => join(open.staging, 'wasm', 'compiled');
  const namesOf = async (suffix: string) => (await readdir(compiled())).filter((name) => name.endsWith(suffix));

  it('are kept, and used by the next worker', async () => {
    await bench.once(GROW, [1]);
    const [name = ''] = await namesOf('.cwasm');
    const placed = await stat(join(compiled(), name));
    await open.runtime.close();
    const again = await openWasm('wasmtime', 'sandbox', { staging: open.staging });
    const next = await Bench.of({ ...wasmtime, open: () => Promise.resolve(again) });
    try {
      expect((await next.once(GROW, [1])).value).toBe(2);
      expect(await namesOf('.cwasm')).toEqual([name]);
      expect((await stat(join(compiled(), name))).ino).toBe(placed.ino);
    } finally {
      await again.close();
    }
  });

  it('that are not what they were are never run: they are compiled again', async () => {
    const plain = await bench.start(GROW);
    await plain.stop();
    const [name = ''] = await namesOf('.cwasm');
    const right = await readFile(join(compiled(), name));
    for (const harm of ['flipped', 'cut', 'other digest', 'no digest'] as const) {
      const wrong = Buffer.from(right);
      const middle = Math.floor(wrong.length / 2);
      wrong[middle] = (wrong[middle] ?? 0) ^ 0xff;
      const path = join(compiled(), name);
      const digest = join(compiled(), name.replace('.cwasm', '.sha256'));
      await rm(path, { force: true });
      await writeFile(path, harm === 'cut' ? right.subarray(0, middle) : harm === 'flipped' ? wrong : right);
      if (harm === 'other digest') {
        await rm(digest);
        await writeFile(digest, 'a'.repeat(64));
      }
      if (harm === 'no digest') await rm(digest);
      // Another memory limit is another module to the engine, and the same on disk.
      const memoryMiB = 20 + ['flipped', 'cut', 'other digest', 'no digest'].indexOf(harm);
      expect((await bench.once({ ...GROW, limits: { memoryMiB } }, [1])).value, harm).toBe(2);
      expect((await readFile(path)).equals(right), harm).toBe(true);
    }
  });

  it('are made ahead of the first start, which then finds them', async () => {
    await open.runtime.anticipate?.(bench.runnable(GROW));
    expect(await namesOf('.cwasm')).toHaveLength(1);
    expect(await namesOf('.sha256')).toHaveLength(1);
    expect(await readdir(join(open.staging, 'wasm', 'modules'))).toEqual([]);
  });

  it('a module that cannot be compiled says why, again and again, and others go on', async () => {
    for (let turn = 0; turn < 2; turn++) {
      await expect(bench.start({ protocol: 'wasi', entry: 'invalid.wasm' })).rejects.toMatchObject({
        code: 'INSTANCE_START_FAILED',
        message: expect.stringContaining('cannot be run'),
      });
    }
    expect((await bench.once(GROW, [1])).value).toBe(2);
  });
});

// Without a sandbox the command line says whose engine it is.
describe.each([await wasmUnderTest('wasmtime', 'none'), await wasmUnderTest('v8', 'none')])('$title', (subject) => {
  it.skipIf(subject.unavailable !== null)(
    'an engine that dies takes its instances with it, and the next start makes another',
    async () => {
      const open = await openWasm(subject.title.includes('v8') ? 'v8' : 'wasmtime', 'none');
      await mkdir(open.codeDirectory, { recursive: true });
      writeOddModules(open.codeDirectory);
      const bench = await Bench.of({ ...subject, open: () => Promise.resolve(open) });
      try {
        const idle = await bench.start(GROW);
        const busy = await bench.start({ protocol: 'wasi', entry: 'table-bomb.wasm' });
        const call = expect(busy.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
        const engines = processesWith(join(open.staging, 'wasm')).filter((pid) => isEngine(pid));
        expect(engines).toHaveLength(1);
        for (const pid of engines) process.kill(pid, 'SIGKILL');
        await call;
        expect(await idle.instance.ended).toMatchObject({ reason: 'exited', signal: 'SIGKILL' });
        expect(idle.instance.reusable).toBe(false);
        expect((await bench.once(GROW, [1])).value).toBe(2);
        expect(await open.runtime.check()).toMatchObject({ available: true });
      } finally {
        await open.close();
      }
    },
  );
});

describe.each([await wasmUnderTest('wasmtime', 'none'), await wasmUnderTest('v8', 'none')])(
  '$title, with functions of several namespaces',
  (subject) => {
    const kind = subject.title.includes('v8') ? 'v8' : 'wasmtime';
    const BOMB = { protocol: 'wasi', entry: 'table-bomb.wasm' } as const;
    let open: Awaited<ReturnType<typeof openWasm>>;
    let bench: Bench;
    beforeEach(async () => {
      open = await openWasm(kind, 'none');
      await mkdir(open.codeDirectory, { recursive: true });
      writeOddModules(open.codeDirectory);
      bench = await Bench.of({ ...subject, open: () => Promise.resolve(open) });
    });
    afterEach(() => open.close());

    const engines = () => processesWith(join(open.staging, 'wasm')).filter((pid) => isEngine(pid));
    const startIn = async (namespace: string, deployment: typeof BOMB | typeof GROW) => {
      const signal = AbortSignal.timeout(60_000);
      const options = { instanceId: `${namespace}-${Math.random()}`, signal };
      return new TestInstance(await open.runtime.start({ ...bench.runnable(deployment), namespace }, options));
    };

    it.skipIf(subject.unavailable !== null)(
      'an engine that dies under one takes no call of another with it',
      async () => {
        const one = await startIn('a', BOMB);
        const [first = 0, ...more] = engines();
        expect(more).toEqual([]);
        const other = await startIn('b', BOMB);
        expect(engines()).toHaveLength(2);
        const lost = expect(one.call({})).rejects.toMatchObject({ code: 'INSTANCE_LOST' });
        const goesOn = other.call({}, { deadlineMs: Date.now() + 2000 });
        process.kill(first, 'SIGKILL');
        await lost;
        expect((await goesOn).error).toMatchObject({ code: 'TASK_TIMEOUT' });
        expect(other.instance.reusable).toBe(true);
        expect((await (await startIn('a', GROW)).call([1])).value).toBe(2);
      },
    );

    // V8 keeps nothing that was compiled.
    const compiled = it.skipIf(subject.unavailable !== null);
    if (kind !== 'v8')
      compiled('what was compiled for one is not run for another', async () => {
        for (const namespace of ['a', 'b', 'a'])
          expect((await (await startIn(namespace, GROW)).call([1])).value).toBe(2);
        const names = await readdir(join(open.staging, 'wasm', 'compiled'));
        expect(names.filter((name) => name.endsWith('.cwasm'))).toHaveLength(2);
      });

    it.skipIf(subject.unavailable !== null)('a few engines are kept for those that have no instance', async () => {
      for (const namespace of ['a', 'b', 'c', 'd', 'e', 'f']) await (await startIn(namespace, GROW)).stop();
      await waitFor(() => engines().length === 4, { what: 'four engines that are kept' });
      const [kept] = engines();
      expect((await (await startIn('c', GROW)).call([1])).value).toBe(2);
      expect(engines()).toHaveLength(4);
      expect(engines()).toContain(kept);
      expect((await (await startIn('a', GROW)).call([1])).value).toBe(2);
    });
  },
);

describe.each([await wasmUnderTest('wasmtime', 'none'), await wasmUnderTest('v8', 'none')])(
  '$title, whose engine dies under several calls',
  (subject) => {
    it.skipIf(subject.unavailable !== null)('charges none of them, and runs each in an engine of its own', async () => {
      const open = await openWasm(subject.title.includes('v8') ? 'v8' : 'wasmtime', 'none');
      await mkdir(open.codeDirectory, { recursive: true });
      writeOddModules(open.codeDirectory);
      const bench = await Bench.of({ ...subject, open: () => Promise.resolve(open) });
      const BOMB = { protocol: 'wasi', entry: 'table-bomb.wasm' } as const;
      const engines = () => processesWith(join(open.staging, 'wasm')).filter((pid) => isEngine(pid));
      const endAll = () => {
        for (const pid of engines()) process.kill(pid, 'SIGKILL');
      };
      const shared = (error: unknown) => error instanceof SharedLoss;
      try {
        const [one, two] = [await bench.start(BOMB), await bench.start(BOMB)];
        const both = [one.call({}), two.call({})].map((call) => call.catch((error: unknown) => error));
        endAll();
        expect((await Promise.all(both)).map(shared)).toEqual([true, true]);

        // The one that was beside it completes.
        const innocent = await bench.start(GROW);
        const [common] = engines();
        expect((await innocent.call([1], { alone: true })).value).toBe(2);
        expect(engines()).toEqual([common]);

        // The other one dies by itself, and nobody else.
        const guilty = await bench.start(BOMB);
        const lost = guilty.call({}, { alone: true }).catch((error: unknown) => error);
        await waitFor(() => engines().length === 2, { what: 'an engine of its own' });
        const [own = 0] = engines().filter((pid) => pid !== common);
        await waitFor(() => processorMs(own) > 1000, { what: 'its module to be at it' });
        process.kill(own, 'SIGKILL');
        const error = await lost;
        expect(error).toMatchObject({ code: 'INSTANCE_LOST' });
        expect(shared(error)).toBe(false);
        expect((await innocent.call([1])).value).toBe(2);

        // Whoever waits for an engine of its own gives up when it is stopped.
        const stopped = [await bench.start(BOMB), await bench.start(BOMB)];
        const calls = stopped.map((each) => each.call({}, { alone: true }).catch((error: unknown) => error));
        await waitFor(() => engines().length === 2, { what: 'an engine of its own' });
        await Promise.all(stopped.map((each) => each.stop(0)));
        expect(await Promise.all(calls)).toMatchObject([{ code: 'INSTANCE_LOST' }, { code: 'INSTANCE_LOST' }]);
        expect(engines()).toEqual([common]);
      } finally {
        await open.close();
      }
    });
  },
);

describe.skipIf(wasmtime.unavailable !== null)('limits.cpu', () => {
  it('is what a module gets of a processor', async () => {
    const open = await openWasm('wasmtime', 'none');
    await mkdir(open.codeDirectory, { recursive: true });
    writeOddModules(open.codeDirectory);
    const bench = await Bench.of({ ...wasmtime, open: () => Promise.resolve(open) });
    try {
      const spins = await bench.start({ protocol: 'wasi', entry: 'table-bomb.wasm', limits: { cpu: 0.1 } });
      const [pid = 0] = processesWith(join(open.staging, 'wasm')).filter((found) => isEngine(found));
      const before = cpuMsOf(pid);
      const { error } = await spins.call({}, { deadlineMs: Date.now() + 2000 });
      expect(error).toMatchObject({ code: 'TASK_TIMEOUT' });
      const used = cpuMsOf(pid) - before;
      // Without a limit it is all of them, or what else runs on the machine leaves.
      expect(used).toBeGreaterThan(20);
      expect(used).toBeLessThan(1000);
    } finally {
      await open.close();
    }
  });
});

/** Processor time of a process, ms (proc(5), in ticks of 10 ms). */
function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

describe('an engine that nobody uses', () => {
  it('goes after a while, is still said to work, and is there again when it is wanted', async () => {
    const open = await openWasm('v8', 'none', { unusedMs: 200 });
    await mkdir(open.codeDirectory, { recursive: true });
    writeOddModules(open.codeDirectory);
    const engines = () => processesWith(join(open.staging, 'wasm')).filter((pid) => isEngine(pid)).length;
    const subject = { ...wasmtime, title: 'V8', unavailable: null, open: () => Promise.resolve(open) };
    const bench = await Bench.of(subject);
    try {
      const found = await open.runtime.check();
      expect(found).toMatchObject({ available: true });
      await waitFor(() => engines() === 0, { what: 'the engine to go' });
      expect(await open.runtime.check()).toEqual(found);
      expect(engines()).toBe(0);
      expect((await bench.once(GROW, [1])).value).toBe(2);
      expect(engines()).toBe(1);
    } finally {
      await open.close();
    }
  });
});

/** What a process has used of a processor; Linux counts in hundredths of a second. */
function processorMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

const isEngine = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/main.mjs');

describe('which engine is used', () => {
  const runtimeWith = async (engine: 'auto' | 'wasmtime', addonPath: string) => {
    const stagingDirectory = await chooseStagingDirectory(temporaryDirectory());
    const logger = pino({ level: 'silent' });
    const sandboxes = new Sandboxes({
      isolation: 'none',
      stagingDirectory,
      nodePath: process.execPath,
      pythonPath: null,
      workerId: 'test',
      logger,
    });
    const deps = { capacity: 2, memoryMiB: 256, cacheMiB: 16, logger };
    const runtime = createWasmRuntime({ engine, sandboxes, stagingDirectory, addonPath, ...deps });
    try {
      return await runtime.check();
    } finally {
      await runtime.close();
    }
  };

  it.skipIf(wasmtime.unavailable !== null)('is wasmtime where it was built', async () => {
    const status = await runtimeWith('auto', WASMTIME_ADDON);
    expect(status).toMatchObject({ available: true, engine: expect.stringMatching(/^wasmtime \d+\.\d+\.\d+$/) });
  });

  it('is V8 where it was not, and the status says what to do', async () => {
    const status = await runtimeWith('auto', '/nonexistent.node');
    expect(status).toMatchObject({ available: true, engine: `v8 ${process.versions.v8}` });
    expect(status.notes.join()).toContain('npm run build:wasmtime');
  });

  it('is V8 where what was built cannot be loaded, and the status says why', async () => {
    const broken = join(temporaryDirectory(), 'broken.node');
    await writeFile(broken, 'this is no addon');
    const status = await runtimeWith('auto', broken);
    expect(status).toMatchObject({ available: true, engine: `v8 ${process.versions.v8}` });
    expect(status.notes.join()).toContain('wasmtime does not work here');
  });

  it('is none where wasmtime is asked for and was not built', async () => {
    const status = await runtimeWith('wasmtime', '/nonexistent.node');
    expect(status).toMatchObject({ available: false, notes: [expect.stringContaining('build:wasmtime')] });
  });
});
