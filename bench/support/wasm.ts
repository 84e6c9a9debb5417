import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pino } from 'pino';
import type { RunnableVersion, Runtime, RuntimeInstance } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { createProcessRuntime } from '../../apps/worker/src/runtimes/process/process-runtime.ts';
import { WASMTIME_ADDON } from '../../apps/worker/src/runtimes/registry.ts';
import { Sandboxes } from '../../apps/worker/src/runtimes/sandbox/sandboxes.ts';
import { chooseStagingDirectory } from '../../apps/worker/src/runtimes/sandbox/staging.ts';
import type { Engine, EngineCall } from '../../apps/worker/src/runtimes/wasm/engine/engine.ts';
import { V8Engine } from '../../apps/worker/src/runtimes/wasm/engine/v8-engine.ts';
import { loadAddon, WasmtimeEngine } from '../../apps/worker/src/runtimes/wasm/engine/wasmtime-engine.ts';
import { createWasmRuntime } from '../../apps/worker/src/runtimes/wasm/wasm-runtime.ts';
import { withMemory } from '../../test/support/module-bytes.ts';
import { buildModules, modulesMissing } from '../../test/support/wasm-modules.ts';
import { makeDirectory } from './directory.ts';
import type { Scope } from './scope.ts';

export const ENGINES = ['wasmtime', 'v8'] as const;
export type EngineName = (typeof ENGINES)[number];

const MEMORY_BYTES = 256 * 1_048_576;
const CRATE = join(import.meta.dirname, '../../packages/wasmtime');
const noLog = () => undefined;

/**
 * The modules of the tests, and one that does nothing, in a directory that sandboxes can read.
 * @throws Error where they cannot be built here, or wasmtime was not
 */
export async function makeModules(scope: Scope): Promise<string> {
  const missing = await modulesMissing();
  if (missing !== null) throw new Error(missing);
  if (!existsSync(WASMTIME_ADDON)) throw new Error('wasmtime was not built: npm run build:wasmtime');
  const directory = join(await chooseStagingDirectory(await makeDirectory(scope)), 'code', 'bench');
  await buildModules(directory);
  // Of as much memory as the echo.
  await writeFile(join(directory, 'empty.wasm'), withMemory(0, 2));
  return directory;
}

/** Times an engine's own call of a module that does nothing, in a fresh instance, µs each, with nothing of ours around it. */
export async function emptyCallsUs(engine: EngineName, module: string, calls: number): Promise<number[]> {
  if (engine === 'wasmtime') {
    const lock = createHash('sha256').update(readFileSync(join(CRATE, 'Cargo.lock')));
    const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
    const target = join(cache, 'pilum', `wasmtime-${lock.digest('hex').slice(0, 16)}`);
    const cargo = join(homedir(), '.cargo/bin/cargo');
    const args = ['run', '--release', '--locked', '--quiet', '--example', 'empty-call', '--', module, String(calls)];
    const { stdout } = await promisify(execFile)(existsSync(cargo) ? cargo : 'cargo', args, {
      cwd: CRATE,
      env: { ...process.env, CARGO_TARGET_DIR: target },
      maxBuffer: 64 * 1_048_576,
    });
    return stdout.trim().split('\n').map(Number);
  }
  const compiled = new WebAssembly.Module(new Uint8Array(readFileSync(module)));
  return Array.from({ length: calls }, () => {
    const since = performance.now();
    (new WebAssembly.Instance(compiled, {}).exports._start as () => void)();
    return (performance.now() - since) * 1000;
  });
}

/** An engine in this process, with an echo; each call says what it took on its thread and in all, µs. */
export async function startEngine(name: EngineName, directory: string, scope: Scope) {
  const addon = loadAddon(WASMTIME_ADDON);
  const engine: Engine = name === 'wasmtime' ? new WasmtimeEngine(addon, 16, noLog) : new V8Engine(16, noLog);
  await scope.add('process', () => engine.close());
  const wasm = join(directory, 'echo.wasm');
  const compiled = join(directory, 'echo.cwasm');
  await writeFile(compiled, addon.compile(readFileSync(wasm)));
  const path = name === 'wasmtime' ? compiled : wasm;
  await engine.prepare('echo', { path, entry: { kind: 'command' }, memoryBytes: MEMORY_BYTES });
  let id = 0;
  return async (payload: Buffer): Promise<{ insideUs: number; wholeUs: number }> => {
    const call: EngineCall = {
      id: ++id,
      key: 'echo',
      payload,
      args: ['echo'],
      env: {},
      layers: [],
      memoryBytes: MEMORY_BYTES,
      outputBytes: 1_048_576,
      cpu: 1,
      streamCredit: 0,
      timeoutMs: 30_000,
    };
    const since = performance.now();
    const outcome = await engine.run(call);
    if (outcome.kind !== 'ok' || outcome.body.length !== payload.length) throw new Error(`no echo: ${outcome.kind}`);
    return { insideUs: outcome.tookUs, wholeUs: (performance.now() - since) * 1000 };
  };
}

/** The runtimes of a worker, without a worker. */
export async function startRuntimes(
  scope: Scope,
): Promise<Record<EngineName | 'process', Runtime> & { codeDirectory: string }> {
  const stagingDirectory = await chooseStagingDirectory(await makeDirectory(scope));
  const logger = pino({ level: 'warn' }, pino.destination(2));
  const forProcesses = {
    isolation: 'sandbox',
    stagingDirectory,
    nodePath: process.execPath,
    pythonPath: null,
    allowHostNetwork: false,
    killGraceMs: 1000,
    freezeAfterMs: 100,
    prewarm: 0,
    workerId: `bench-${process.pid}`,
    logger,
  } as const;
  const sandboxes = new Sandboxes(forProcesses);
  const wasm = (engine: EngineName) =>
    createWasmRuntime({
      engine,
      sandboxes,
      stagingDirectory,
      addonPath: WASMTIME_ADDON,
      capacity: 16,
      memoryMiB: 8192,
      cacheMiB: 1024,
      logger,
    });
  const runtimes = {
    wasmtime: wasm('wasmtime'),
    v8: wasm('v8'),
    process: createProcessRuntime(forProcesses, sandboxes),
  };
  for (const runtime of Object.values(runtimes)) await scope.add('process', () => runtime.close());
  const codeDirectory = join(stagingDirectory, 'code', 'bench');
  await mkdir(codeDirectory, { recursive: true });
  return { ...runtimes, codeDirectory };
}

let instances = 0;

/** Starts an instance. */
export async function startInstance(runtime: Runtime, runnable: RunnableVersion): Promise<RuntimeInstance> {
  return await runtime.start(runnable, { instanceId: `bench-${++instances}`, signal: AbortSignal.timeout(120_000) });
}

/** Calls an instance; resolves when it has answered, whatever the answer. */
export async function callInstance(instance: RuntimeInstance, payload: Buffer, runMs = 30_000) {
  return await instance.call({
    taskId: 'bench.1',
    attempt: 1,
    deadlineMs: Date.now() + runMs,
    contentType: 'application/json',
    payload,
    headers: {},
    traceparent: null,
    log: { write: noLog },
    http: null,
    chunks: null,
    progress: noLog,
    signal: new AbortController().signal,
  });
}
