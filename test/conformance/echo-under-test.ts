import { rm } from 'node:fs/promises';
import { layersIn } from '../../apps/worker/src/runtimes/contract/layers.ts';
import { chooseStagingDirectory } from '../../apps/worker/src/runtimes/sandbox/staging.ts';
import { EchoRuntime } from '../fixtures/runtimes/echo/echo-runtime.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { PYTHON, stageFunctions } from './process-under-test.ts';
import type { OpenRuntime, RuntimeUnderTest } from './runtime-under-test.ts';
import { stageLayers } from './stage-layers.ts';

/** The toy runtime of test/fixtures/runtimes/echo: what a new runtime has to bring is no more than what it has. */
export function echoUnderTest(): RuntimeUnderTest {
  return {
    title: 'a toy runtime',
    isolated: false,
    holdsDescendants: false,
    limitsMemory: false,
    streams: true,
    protocols: ['handler', 'stdio'],
    unavailable: null,
    open,
  };
}

async function open(): Promise<OpenRuntime> {
  const data = makeTemporaryDirectory();
  const staging = await chooseStagingDirectory(data);
  const codeDirectory = await stageFunctions(staging);
  await stageLayers(staging);
  const runtime = new EchoRuntime({ stagingDirectory: staging, nodePath: process.execPath, pythonPath: PYTHON });
  return {
    runtime,
    codeDirectory,
    layersDirectory: layersIn(staging),
    leftovers: () => Promise.resolve([]),
    async close() {
      await runtime.close();
      await rm(staging, { recursive: true, force: true });
      await rm(data, { recursive: true, force: true });
    },
  };
}
