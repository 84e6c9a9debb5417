import { existsSync, realpathSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Configuration } from '@pilum/core/config/config.ts';
import { ConfigurationError } from '@pilum/core/errors/pilum-error.ts';
import { execa } from 'execa';
import type { Logger } from 'pino';
import { Presence } from '../ownership/presence.ts';
import type { Runtime } from './contract/runtime.ts';
import { createDockerRuntime } from './docker/docker-runtime.ts';
import { createProcessRuntime } from './process/process-runtime.ts';
import { stageBootstraps } from './protocols/bootstraps.ts';
import { relaySettings } from './relay-settings.ts';
import { Sandboxes } from './sandbox/sandboxes.ts';
import { chooseStagingDirectory } from './sandbox/staging.ts';
import { createWasmRuntime } from './wasm/wasm-runtime.ts';

/** The machine's own Python: what stands first on PATH may be a wrapper, or lie where a sandbox's user cannot go. */
const SYSTEM_PYTHON = '/usr/bin/python3';

/** The path at which `npm run build:wasmtime` puts the engine. */
export const WASMTIME_ADDON = join(import.meta.dirname, '../../../../packages/wasmtime/build/wasmtime.node');

/**
 * Every runtime that this release has, and the directory in which they find code.
 * @param environment says where interpreters may be
 */
export async function createRuntimes(
  configuration: Configuration,
  logger: Logger,
  environment: NodeJS.ProcessEnv,
): Promise<{ runtimes: Runtime[]; stagingDirectory: string; presence: Presence }> {
  const stagingDirectory = await chooseStagingDirectory(configuration.DATA);
  const presence = new Presence(stagingDirectory, logger);
  const forProcesses = {
    isolation: configuration.ISOLATION,
    relay: relaySettings(configuration),
    stagingDirectory,
    stageBootstraps,
    presence,
    nodePath: process.execPath,
    pythonPath: configuration.PYTHON ?? (await findPython()),
    interpreters: configuration.INTERPRETERS,
    environment,
    allowHostNetwork: configuration.ALLOW_HOST_NETWORK,
    killGraceMs: configuration.KILL_GRACE_MS,
    freezeAfterMs: configuration.FREEZE_AFTER_MS,
    prewarm: configuration.PREWARM,
    workerId: configuration.WORKER_ID,
    logger,
  };
  const sandboxes = new Sandboxes(forProcesses);
  return {
    stagingDirectory,
    presence,
    runtimes: [
      createProcessRuntime(forProcesses, sandboxes),
      createWasmRuntime({
        engine: configuration.WASM_ENGINE,
        sandboxes,
        stagingDirectory,
        presence,
        addonPath: WASMTIME_ADDON,
        capacity: configuration.WORKER_CAPACITY,
        memoryMiB: configuration.WORKER_MEMORY_MIB,
        cacheMiB: configuration.CODE_CACHE_MIB,
        logger,
      }),
      createDockerRuntime({
        host: configuration.DOCKER_HOST,
        stagingDirectory,
        presence,
        stagingOfEngine: stagingOfEngine(configuration, stagingDirectory),
        allowHostNetwork: configuration.ALLOW_HOST_NETWORK,
        allowRoot: configuration.DOCKER_ALLOW_ROOT,
        networks: async () => (await sandboxes.machine()).networks,
        ociRuntime: configuration.DOCKER_RUNTIME ?? null,
        credentialsFile: configuration.DOCKER_CREDENTIALS ?? null,
        pull: configuration.DOCKER_PULL,
        freezeAfterMs: configuration.FREEZE_AFTER_MS,
        pauseAfterMs: configuration.DOCKER_PAUSE_AFTER_MS,
        killGraceMs: configuration.KILL_GRACE_MS,
        workerId: configuration.WORKER_ID,
        logger,
      }),
    ],
  };
}

/**
 * Returns the place at which the Engine's machine has the staging directory, if it calls PILUM_DATA something else.
 * @throws ConfigurationError `CONFIGURATION_INVALID` where that does not lie in PILUM_DATA
 */
function stagingOfEngine({ DATA, DOCKER_DATA }: Configuration, stagingDirectory: string): string | null {
  if (DOCKER_DATA === undefined) return null;
  const inData = relative(realpathSync(DATA), stagingDirectory);
  if (inData.startsWith('..')) {
    throw new ConfigurationError('CONFIGURATION_INVALID', {
      message: `PILUM_DOCKER_DATA has no meaning where PILUM_DATA is closed to others, since instances then read from ${stagingDirectory}: make ${DATA} one that others may go through (chmod o+x).`,
    });
  }
  return join(DOCKER_DATA, inData);
}

async function findPython(): Promise<string | null> {
  if (existsSync(SYSTEM_PYTHON)) return SYSTEM_PYTHON;
  const found = await execa('python3', ['-c', 'import sys; print(sys.executable)'], { reject: false, timeout: 10_000 });
  return found.failed ? null : found.stdout.trim() || null;
}
