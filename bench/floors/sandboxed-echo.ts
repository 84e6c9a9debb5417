import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Call, RunnableVersion, RuntimeInstance } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { createProcessRuntime } from '../../apps/worker/src/runtimes/process/process-runtime.ts';
import { chooseStagingDirectory } from '../../apps/worker/src/runtimes/sandbox/staging.ts';
import { fill } from '../../test/conformance/snapshots.ts';
import { ECHO } from '../support/functions.ts';
import { type Echo, mostRecentOf } from './echo.ts';

/** As many as Pilum's worker runs at once where nothing else is said. */
export const INSTANCES = 16;
const RUN_TIMEOUT_MS = 30_000;
const NO_LOG: Call['log'] = { write: () => undefined };

/** An echo of {@link INSTANCES} warm instances, for as many calls at once: started and called by Pilum's own runtime, in the sandbox that Pilum's worker uses. */
export async function startSandboxedEcho(dataDirectory: string): Promise<{ echo: Echo; close: () => Promise<void> }> {
  const stagingDirectory = await chooseStagingDirectory(dataDirectory);
  const codeDirectory = join(stagingDirectory, 'code', 'echo');
  await mkdir(codeDirectory, { recursive: true });
  await writeFile(join(codeDirectory, 'index.mjs'), ECHO);
  const runtime = createProcessRuntime({
    isolation: 'sandbox',
    stagingDirectory,
    nodePath: process.execPath,
    pythonPath: null,
    allowHostNetwork: false,
    killGraceMs: 1000,
    freezeAfterMs: 100,
    prewarm: 0,
    workerId: `bench-${process.pid}`,
    logger: pino({ level: 'warn' }),
  });
  const runnable: RunnableVersion = {
    namespace: 'bench',
    version: fill({ runtime: 'process' }),
    codeDirectory,
    layers: [],
  };
  try {
    const instances: RuntimeInstance[] = [];
    while (instances.length < INSTANCES) {
      const instanceId = `bench-${process.pid}-${instances.length}`;
      instances.push(await runtime.start(runnable, { instanceId, signal: new AbortController().signal }));
    }
    return { echo: mostRecentOf(instances.map(echoOf)), close: () => runtime.close() };
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

function echoOf(instance: RuntimeInstance): Echo {
  const never = new AbortController().signal;
  let calls = 0;
  return async (event) => {
    const result = await instance.call({
      taskId: `echo.${++calls}`,
      attempt: 1,
      deadlineMs: Date.now() + RUN_TIMEOUT_MS,
      contentType: 'application/json',
      payload: event,
      headers: {},
      http: null,
      traceparent: null,
      log: NO_LOG,
      chunks: null,
      progress: () => undefined,
      signal: never,
    });
    if (!result.ok) throw new Error(`the echo failed: ${result.error.message}`);
    return result.body;
  };
}
