import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { PinnedImage } from '@pilum/core/schemas/artifact.ts';
import { pino } from 'pino';
import { layersIn } from '../../apps/worker/src/runtimes/contract/layers.ts';
import type { RunnableVersion, Runtime } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { createDockerRuntime } from '../../apps/worker/src/runtimes/docker/docker-runtime.ts';
import type { DockerRuntimeOptions } from '../../apps/worker/src/runtimes/docker/options.ts';
import { chooseStagingDirectory } from '../../apps/worker/src/runtimes/sandbox/staging.ts';
import { containersOf, ENGINE_HOST, IMAGES, pinned, whyNoEngine } from '../support/docker.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';
import { stageFunctions } from './process-under-test.ts';
import type { OpenRuntime, RuntimeUnderTest } from './runtime-under-test.ts';
import { stageLayers } from './stage-layers.ts';

/** The images that versions are pinned to, by what runs in them. */
export type TestImages = Record<'node' | 'python' | 'command', PinnedImage>;

/** The docker runtime, on the Engine of this machine; other images than the stock ones are for tests of its own. */
export async function dockerUnderTest(
  options: Partial<DockerRuntimeOptions> = {},
  images: Partial<TestImages> = {},
): Promise<RuntimeUnderTest> {
  return {
    title: 'the docker runtime',
    isolated: true,
    streams: true,
    ownRoot: true,
    protocols: ['handler', 'stdio', 'http'],
    holdsDescendants: true,
    unavailable: await whyNoEngine(),
    open: () => open(options, images),
  };
}

async function open(options: Partial<DockerRuntimeOptions>, given: Partial<TestImages>): Promise<OpenRuntime> {
  const { workerId = `test-${randomUUID()}` } = options;
  const data = makeTemporaryDirectory();
  const staging = await chooseStagingDirectory(data);
  const codeDirectory = await stageFunctions(staging);
  await stageLayers(staging);
  const runtime = createDockerRuntime({
    host: ENGINE_HOST,
    stagingDirectory: staging,
    stagingOfEngine: null,
    presence: null,
    allowHostNetwork: true,
    allowRoot: false,
    ociRuntime: null,
    credentialsFile: null,
    pull: 'missing',
    networks: async () => null,
    freezeAfterMs: 100,
    pauseAfterMs: 0,
    killGraceMs: 500,
    logger: pino({ level: 'warn' }),
    ...options,
    workerId,
  });
  const images = {
    node: await pinned(IMAGES.node),
    python: await pinned(IMAGES.python),
    command: await pinned(IMAGES.debian),
    ...given,
  };
  return {
    runtime: withImages(
      runtime,
      ({ spec }) => images[spec.protocol === 'stdio' ? 'command' : (spec.language ?? 'node')],
    ),
    codeDirectory,
    layersDirectory: layersIn(staging),
    async leftovers(instanceId) {
      // What is removed after the end of an instance is waited for by nobody.
      await waitFor(async () => (await containersOf(workerId, instanceId)).length === 0, { what: 'its removal' });
      return [];
    },
    async close() {
      await runtime.close();
      await rm(staging, { recursive: true, force: true });
      await rm(data, { recursive: true, force: true });
    },
  };
}

/** Versions as a deployment leaves them: with the image that they were pinned to. */
function withImages(runtime: Runtime, imageOf: (version: RunnableVersion['version']) => PinnedImage): Runtime {
  return {
    kind: runtime.kind,
    capabilities: runtime.capabilities,
    prewarm: runtime.prewarm,
    preparer: runtime.preparer,
    check: () => runtime.check(),
    removeOrphans: () => runtime.removeOrphans(),
    close: () => runtime.close(),
    start: (runnable, options) =>
      runtime.start({ ...runnable, version: { ...runnable.version, image: imageOf(runnable.version) } }, options),
  };
}
