// @needs bubblewrap, python
import { randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createProcessRuntime } from '../../../apps/worker/src/runtimes/process/process-runtime.ts';
import { chooseStagingDirectory } from '../../../apps/worker/src/runtimes/sandbox/staging.ts';
import { PYTHON, stageFunctions } from '../../conformance/process-under-test.ts';
import { Bench, type Deployment, type RuntimeUnderTest } from '../../conformance/runtime-under-test.ts';
import { makeTemporaryDirectory } from '../../support/temporary-directory.ts';

const MEBIBYTE = 1_048_576;
const FILE_MIB = 16;

const data = makeTemporaryDirectory();
let staging: string;
let bench: Bench;

beforeAll(async () => {
  staging = await chooseStagingDirectory(data);
  const codeDirectory = await stageFunctions(staging);
  const file = await open(join(codeDirectory, 'large'), 'w');
  for (let written = 0; written < FILE_MIB; written++) await file.write(Buffer.alloc(MEBIBYTE, written));
  await file.sync();
  await file.close();
  const runtime = createProcessRuntime({
    isolation: 'sandbox',
    stagingDirectory: staging,
    nodePath: process.execPath,
    pythonPath: PYTHON,
    allowHostNetwork: false,
    killGraceMs: 500,
    freezeAfterMs: 100,
    prewarm: 0,
    workerId: `buffers-${randomUUID().slice(0, 8)}`,
    logger: pino({ level: 'warn' }),
  });
  const under = {
    runtime,
    codeDirectory,
    layersDirectory: '',
    leftovers: async () => [],
    close: () => runtime.close(),
  };
  bench = await Bench.of({ open: async () => under } as unknown as RuntimeUnderTest);
});
afterEach(() => bench.clear());
afterAll(async () => {
  await bench.open.close();
  for (const directory of [staging, data]) await rm(directory, { recursive: true, force: true });
});

const ask = async (limits: Deployment['limits'], what: string, ...args: unknown[]) => {
  const instance = await bench.start({ language: 'python', entry: 'kernel_buffers.py', limits: limits ?? {} });
  return await instance.call({ what, with: args });
};

describe('what the kernel holds for a function', () => {
  test('in buffers of TCP is bounded by a part of its memory, however many sockets there are', async () => {
    const { value } = await ask({ memoryMiB: 32 }, 'tcp', 62);
    expect(Number(value) / MEBIBYTE).toBeLessThan(48);
  });

  test('in buffers of UDP is bounded in the same way', async () => {
    const { value } = await ask({ memoryMiB: 32 }, 'udp', 400);
    expect(Number(value) / MEBIBYTE).toBeLessThan(48);
  });

  test('in buffers of Unix sockets is memory of the function', async () => {
    await expect(ask({ memoryMiB: 32 }, 'unix', 490)).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
  });

  test('is nothing on the way from a function to itself over netlink', async () => {
    for (const protocol of [2, 4, 15, 16]) {
      expect((await ask({}, 'netlink', protocol)).value).toBe('Protocol not supported');
    }
    expect((await ask({}, 'netlink', 0)).value).toBe('made');
  });
});

describe('a function that reads a disk', () => {
  test.each(['direct', 'buffered'])('gets no more of it than its limit (%s)', async (way) => {
    const { value } = await ask({ diskReadMiBps: 8 }, 'read', 'large', way);
    // The first tenth of a second may be given ahead.
    expect(Number(value)).toBeGreaterThan((FILE_MIB / 8) * 0.75);
  });
});

describe('a function that watches files', () => {
  test.each(['/usr/bin', '/usr/lib', '.', '/pilum/bin/node'])('does not see who opens %s', async (path) => {
    expect((await ask({}, 'watch', path)).value).toBe('Operation not permitted');
  });
});
