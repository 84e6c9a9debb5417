import { existsSync } from 'node:fs';
import type { Configuration } from '@pilum/core/config/config.ts';
import { execa } from 'execa';
import type { Logger } from 'pino';
import { Presence } from '../ownership/presence.ts';
import { createProcessRuntime } from './process/process-runtime.ts';
import { chooseStagingDirectory } from './process/staging.ts';
import type { Runtime } from './runtime.ts';

/** The machine's own Python: what stands first on PATH may be a wrapper, or lie where a sandbox's user cannot go. */
const SYSTEM_PYTHON = '/usr/bin/python3';

/** Every runtime that this release has, and the directory in which they find code. */
export async function createRuntimes(
  configuration: Configuration,
  logger: Logger,
): Promise<{ runtimes: Runtime[]; stagingDirectory: string; presence: Presence }> {
  const stagingDirectory = await chooseStagingDirectory(configuration.DATA);
  const presence = new Presence(stagingDirectory, logger);
  return {
    stagingDirectory,
    presence,
    runtimes: [
      createProcessRuntime({
        isolation: configuration.ISOLATION,
        stagingDirectory,
        presence,
        nodePath: process.execPath,
        pythonPath: configuration.PYTHON ?? (await findPython()),
        allowHostNetwork: configuration.ALLOW_HOST_NETWORK,
        killGraceMs: configuration.KILL_GRACE_MS,
        blanks: configuration.BLANKS,
        workerId: configuration.WORKER_ID,
        logger,
      }),
    ],
  };
}

async function findPython(): Promise<string | null> {
  if (existsSync(SYSTEM_PYTHON)) return SYSTEM_PYTHON;
  const found = await execa('python3', ['-c', 'import sys; print(sys.executable)'], { reject: false, timeout: 10_000 });
  return found.failed ? null : found.stdout.trim() || null;
}
