import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { layersIn } from '../../apps/worker/src/runtimes/contract/layers.ts';
import { WASMTIME_ADDON } from '../../apps/worker/src/runtimes/registry.ts';
import { Sandboxes } from '../../apps/worker/src/runtimes/sandbox/sandboxes.ts';
import { chooseStagingDirectory } from '../../apps/worker/src/runtimes/sandbox/staging.ts';
import { createWasmRuntime } from '../../apps/worker/src/runtimes/wasm/wasm-runtime.ts';
import { writeOddModules } from '../support/module-bytes.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { buildModules, modulesMissing } from '../support/wasm-modules.ts';
import type { OpenRuntime, RuntimeUnderTest } from './runtime-under-test.ts';
import { stageLayers } from './stage-layers.ts';

/** The WebAssembly runtime with one of its engines. */
export async function wasmUnderTest(
  engine: 'wasmtime' | 'v8',
  isolation: 'sandbox' | 'none' = 'sandbox',
): Promise<RuntimeUnderTest> {
  const { runtime, close } = await openWasm(engine, isolation);
  const status = await runtime.check();
  await close();
  return {
    title: `the wasm runtime, with ${engine}${isolation === 'sandbox' ? '' : ', without a sandbox'}`,
    protocols: runtime.capabilities.protocols,
    isolated: isolation === 'sandbox',
    holdsDescendants: true,
    streams: true,
    unavailable: status.available ? await modulesMissing() : status.notes.join(' '),
    async open() {
      const open = await openWasm(engine, isolation);
      await buildModules(open.codeDirectory);
      await stageLayers(open.staging);
      writeOddModules(open.codeDirectory);
      return open;
    },
  };
}

/** A WebAssembly runtime with directories of its own, and no modules yet. */
export async function openWasm(
  engine: 'wasmtime' | 'v8',
  isolation: 'sandbox' | 'none' = 'sandbox',
  more: { unusedMs?: number; staging?: string } = {},
) {
  const data = makeTemporaryDirectory();
  const staging = more.staging ?? (await chooseStagingDirectory(data));
  const logger = pino({ level: 'error' });
  const workerId = `test-${randomUUID()}`;
  const runtime = createWasmRuntime({
    engine,
    sandboxes: new Sandboxes({
      isolation,
      stagingDirectory: staging,
      nodePath: process.execPath,
      pythonPath: null,
      workerId,
      logger,
    }),
    stagingDirectory: staging,
    addonPath: WASMTIME_ADDON,
    capacity: 16,
    memoryMiB: 4096,
    cacheMiB: 1024,
    ...(more.unusedMs === undefined ? {} : { unusedMs: more.unusedMs }),
    logger,
  });
  return {
    runtime,
    staging,
    codeDirectory: join(staging, 'code', 'test'),
    layersDirectory: layersIn(staging),
    leftovers: () => Promise.resolve([]),
    async close() {
      await runtime.close();
      if (more.staging === undefined) await rm(staging, { recursive: true, force: true });
      await rm(data, { recursive: true, force: true });
    },
  } satisfies OpenRuntime & { staging: string };
}
