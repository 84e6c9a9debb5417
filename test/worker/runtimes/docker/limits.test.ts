import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { dockerUnderTest } from '../../../conformance/docker-under-test.ts';
import { Bench, type TestInstance } from '../../../conformance/runtime-under-test.ts';
import { IMAGES, pinned, whyNoEngine } from '../../../support/docker.ts';
import { keep } from '../../../support/kept.ts';

const why = await whyNoEngine();
const MEBIBYTE = 1024 * 1024;

describe.skipIf(why !== null)('what holds a container, seen from the inside', () => {
  let bench: Bench;
  const kept = keep();
  beforeAll(async () => {
    bench = kept.add(await Bench.of(await dockerUnderTest({ allowHostNetwork: false })), (b) => b.open.close());
  });
  afterEach(() => bench.clear());

  const shell = async (instance: TestInstance, script: string) =>
    ((await instance.call({ script })).value as { stdout: string }).stdout.trim();

  test('memory, processors and processes are limited by a cgroup, and nothing is swapped', async () => {
    const limits = { memoryMiB: 96, cpu: 0.5, pids: 40 };
    const instance = await bench.start({ entry: 'shell.mjs', limits });
    const first = async (...paths: string[]) =>
      (await shell(instance, `cat ${paths.join(' ')} 2>/dev/null`)).split('\n')[0];
    const root = '/sys/fs/cgroup';
    expect(await first(`${root}/memory/memory.limit_in_bytes`, `${root}/memory.max`)).toBe(String(96 * MEBIBYTE));
    const swap = await first(`${root}/memory/memory.memsw.limit_in_bytes`, `${root}/memory.swap.max`);
    expect([String(96 * MEBIBYTE), '0']).toContain(swap);
    const quota = await shell(instance, `cat ${root}/cpu/cpu.cfs_quota_us ${root}/cpu.max 2>/dev/null`);
    expect(quota).toMatch(/^50000( 100000)?$/);
    const pids = Number(await first(`${root}/pids/pids.max`, `${root}/pids.max`));
    expect(pids).toBeGreaterThanOrEqual(40);
    expect(pids).toBeLessThan(80);
  });

  test('no capability, no way to get one, and the default filter of system calls', async () => {
    const instance = await bench.start({ entry: 'shell.mjs' });
    const status = await shell(instance, 'grep -E "^(Cap|NoNewPrivs|Seccomp:|Uid|Gid)" /proc/self/status');
    for (const kind of ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']) expect(status).toContain(`Cap${kind}:\t0000000000000000`);
    expect(status).toContain('NoNewPrivs:\t1');
    expect(status).toContain('Seccomp:\t2');
    expect(status).toContain('Uid:\t1000\t1000\t1000\t1000');
    expect(status).toContain('Gid:\t1000\t1000\t1000\t1000');
  });

  test('what it is given is read-only, and so is the root', async () => {
    const instance = await bench.start({ entry: 'shell.mjs', limits: { diskMiB: 8 } });
    const mounts = await shell(instance, 'cat /proc/self/mounts');
    for (const target of ['/', '/code', '/pilum/bootstrap', '/pilum/exchange']) {
      expect(mounts).toMatch(new RegExp(`^\\S+ ${target} \\S+ ro[, ]`, 'm'));
    }
    expect(mounts).toMatch(/^\S+ \/tmp tmpfs rw,nosuid,nodev\S*,size=8192k/m);
  });

  test('there is no network but loopback', async () => {
    const instance = await bench.start({ entry: 'shell.mjs' });
    expect(await shell(instance, 'tail -n +3 /proc/net/dev | cut -d: -f1')).toBe('lo');
  });

  test('the network of the machine is refused where the operator does not grant it', async () => {
    await expect(bench.start({ entry: 'echo.mjs', limits: { network: 'host' } })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    });
  });

  test('a command that takes all memory is OUT_OF_MEMORY', async () => {
    const script = 'x=$(head -c 200000000 /dev/zero | tr "\\0" x); echo "$x"';
    const instance = await bench.start({ command: ['/bin/sh', '-c', script], limits: { memoryMiB: 32 } });
    await expect(instance.call({})).rejects.toMatchObject({ code: 'OUT_OF_MEMORY' });
  });

  test('a version that wants to be root is refused, unless the operator allows it; it has no capability then either', async () => {
    const images = { command: await pinned(IMAGES.debian, '0:0') };
    const command = ['/bin/sh', '-c', 'id -u; grep CapEff /proc/self/status'];
    const refused = await Bench.of(await dockerUnderTest({}, images));
    await expect(refused.start({ command })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await refused.open.close();
    const allowed = await Bench.of(await dockerUnderTest({ allowRoot: true }, images));
    expect((await allowed.once({ command })).value).toBe('0\nCapEff:\t0000000000000000\n');
    await allowed.open.close();
  });

  test('an OCI runtime that the Engine does not have makes the runtime unavailable, and says which it has', async () => {
    const other = await Bench.of(await dockerUnderTest({ ociRuntime: 'no-such-runtime' }));
    const status = await other.open.runtime.check();
    expect(status.available).toBe(false);
    expect(status.notes[0]).toContain('no runtime no-such-runtime (PILUM_DOCKER_RUNTIME); it has: ');
    await other.open.close();
  });

  test('an OCI runtime that the Engine has is the one that runs', async () => {
    const other = await Bench.of(await dockerUnderTest({ ociRuntime: 'runc' }));
    expect((await other.open.runtime.check()).available).toBe(true);
    expect((await other.once({ command: ['echo', 'ran'] })).value).toBe('ran\n');
    await other.open.close();
  });
});
