import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import { ownerIn } from '../../../apps/worker/src/ownership/owner.ts';
import {
  cgroupName,
  detectCgroups,
  directoryOf,
  parseCgroupMounts,
  parseOwnCgroups,
} from '../../../apps/worker/src/runtimes/sandbox/cgroup/detect.ts';
import { readDisks } from '../../../apps/worker/src/runtimes/sandbox/cgroup/disks.ts';
import { endCgroup } from '../../../apps/worker/src/runtimes/sandbox/cgroup/end.ts';
import { cgroupV1 } from '../../../apps/worker/src/runtimes/sandbox/cgroup/v1.ts';
import { cgroupV2, enableControllers } from '../../../apps/worker/src/runtimes/sandbox/cgroup/v2.ts';
import { limitsOf } from '../../../apps/worker/src/runtimes/sandbox/machine.ts';
import { keep } from '../../support/kept.ts';
import { temporaryDirectory } from '../../support/temporary-directory.ts';

const LIMITS = { memoryMiB: 128, cpu: 0.5, pids: 40, diskReadMiBps: 3 };
const DISKS = ['8:0', '254:16'];
const read = (...path: string[]) => readFileSync(join(...path), 'utf8');

describe('cgroup v1', () => {
  const make = async () => {
    const root = temporaryDirectory();
    const trees = new Map((['memory', 'pids', 'cpu', 'io'] as const).map((name) => [name, join(root, name)]));
    const freezer = join(root, 'unified');
    for (const tree of [...trees.values(), freezer]) mkdirSync(tree);
    const driver = cgroupV1({ trees, freezer, disks: DISKS, limitsSockets: true });
    return { root, driver, group: await driver.create('one', LIMITS) };
  };

  test('an instance has a directory with its limits in each tree', async () => {
    const { root, driver } = await make();
    expect(read(root, 'memory/one/memory.limit_in_bytes')).toBe('134217728');
    expect(read(root, 'memory/one/memory.memsw.limit_in_bytes')).toBe('134217728');
    expect(read(root, 'pids/one/pids.max')).toBe('40');
    expect(read(root, 'cpu/one/cpu.cfs_period_us')).toBe('100000');
    expect(read(root, 'cpu/one/cpu.cfs_quota_us')).toBe('50000');
    expect(await driver.list()).toEqual(['one']);
    expect(read(root, 'memory/one/memory.kmem.tcp.limit_in_bytes')).toBe('33554432');
    // One disk at a time, as the kernel wants it: of an ordinary file the last one stays.
    expect(read(root, 'io/one/blkio.throttle.read_bps_device')).toBe('254:16 3145728');
    expect(driver.limitsSockets).toBe(true);
  });

  test('its part of a busy processor is the kernel’s own, until it is given another', async () => {
    const { root, driver, group } = await make();
    expect(existsSync(join(root, 'cpu/one/cpu.shares'))).toBe(false);
    group.setWeight('normal');
    expect(read(root, 'cpu/one/cpu.shares')).toBe('1024');
    await driver.create('two', { ...LIMITS, weight: 'low' });
    expect(read(root, 'cpu/two/cpu.shares')).toBe('256');
  });

  test('a process is put into every tree', async () => {
    const { root, group } = await make();
    await group.add(4711);
    for (const tree of ['memory', 'pids', 'cpu', 'io', 'unified'])
      expect(read(root, tree, 'one/cgroup.procs')).toBe('4711');
  });

  test('kills for lack of memory are counted', async () => {
    const { root, group } = await make();
    expect(await group.oomKills()).toBe(0);
    writeFileSync(join(root, 'memory/one/memory.oom_control'), 'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n');
    expect(await group.oomKills()).toBe(3);
  });

  test('it is frozen and thawed in the tree of version 2, where what is frozen can be killed', async () => {
    const { root, driver, group } = await make();
    // Of the kernel, the file is there.
    writeFileSync(join(root, 'unified/one/cgroup.freeze'), '');
    expect(driver.freezes).toBe(true);
    group.setFrozen(true);
    expect(read(root, 'unified/one/cgroup.freeze')).toBe('1');
    group.setFrozen(false);
    expect(read(root, 'unified/one/cgroup.freeze')).toBe('0');
  });

  test('without a tree of version 2 nothing is frozen', async () => {
    const trees = new Map([['memory', temporaryDirectory()]] as const);
    const driver = cgroupV1({ trees, freezer: null, disks: [], limitsSockets: false });
    expect(driver.freezes).toBe(false);
    const group = await driver.create('one', LIMITS);
    expect(() => group.setFrozen(true)).not.toThrow();
  });

  test('before it kills, nothing can be forked any more', async () => {
    const { root, group } = await make();
    expect(await group.kill()).toBe(true);
    expect(read(root, 'pids/one/pids.max')).toBe('0');
  });
});

describe('cgroup v2', () => {
  const all = new Set(['memory', 'pids', 'cpu', 'io'] as const);
  const able = { freezes: true, limitsSockets: true, disks: DISKS };

  test('an instance has one directory with its limits', async () => {
    const tree = temporaryDirectory();
    await cgroupV2(tree, all, able).create('one', LIMITS);
    expect(read(tree, 'one/memory.max')).toBe('134217728');
    expect(read(tree, 'one/memory.swap.max')).toBe('0');
    expect(read(tree, 'one/memory.oom.group')).toBe('1');
    expect(read(tree, 'one/pids.max')).toBe('40');
    expect(read(tree, 'one/cpu.max')).toBe('50000 100000');
    expect(read(tree, 'one/io.max')).toBe('254:16 rbps=3145728');
  });

  test('its part of a busy processor is the kernel’s own, until it is given another', async () => {
    const tree = temporaryDirectory();
    const group = await cgroupV2(tree, all, able).create('one', LIMITS);
    expect(existsSync(join(tree, 'one/cpu.weight'))).toBe(false);
    group.setWeight('normal');
    expect(read(tree, 'one/cpu.weight')).toBe('100');
    await cgroupV2(tree, all, able).create('two', { ...LIMITS, weight: 'low' });
    expect(read(tree, 'two/cpu.weight')).toBe('25');
  });

  test('only what was delegated is written', async () => {
    const tree = temporaryDirectory();
    const group = await cgroupV2(tree, new Set(['pids'] as const), able).create('one', LIMITS);
    expect(existsSync(join(tree, 'one/memory.max'))).toBe(false);
    expect(existsSync(join(tree, 'one/io.max'))).toBe(false);
    expect(cgroupV2(tree, new Set(['pids'] as const), able).limitsSockets).toBe(false);
    group.setWeight('low');
    expect(existsSync(join(tree, 'one/cpu.max'))).toBe(false);
    expect(existsSync(join(tree, 'one/cpu.weight'))).toBe(false);
    expect(await group.oomKills()).toBe(0);
  });

  test('kills for lack of memory are counted', async () => {
    const tree = temporaryDirectory();
    const group = await cgroupV2(tree, all, able).create('one', LIMITS);
    writeFileSync(join(tree, 'one/memory.events'), 'low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 1\n');
    expect(await group.oomKills()).toBe(1);
  });

  test('it is frozen and thawed, where the kernel can', async () => {
    const tree = temporaryDirectory();
    const group = await cgroupV2(tree, all, able).create('one', LIMITS);
    writeFileSync(join(tree, 'one/cgroup.freeze'), '0');
    group.setFrozen(true);
    expect(read(tree, 'one/cgroup.freeze')).toBe('1');
    group.setFrozen(false);
    expect(read(tree, 'one/cgroup.freeze')).toBe('0');
    const other = await cgroupV2(tree, all, { ...able, freezes: false }).create('two', LIMITS);
    other.setFrozen(true);
    expect(existsSync(join(tree, 'two/cgroup.freeze'))).toBe(false);
  });

  test('all of it is killed at once, where the kernel can', async () => {
    const tree = temporaryDirectory();
    const group = await cgroupV2(tree, all, able).create('one', LIMITS);
    expect(await group.kill()).toBe(true);
    writeFileSync(join(tree, 'one/cgroup.procs'), '4194303\n');
    writeFileSync(join(tree, 'one/cgroup.kill'), '');
    expect(await group.kill()).toBe(false);
    expect(read(tree, 'one/cgroup.kill')).toBe('1');
  });

  test('controllers are enabled for children, after the worker has left the directory where it was alone in it', async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, 'cgroup.controllers'), 'cpuset cpu io memory pids\n');
    writeFileSync(join(directory, 'cgroup.subtree_control'), 'cpu\n');
    expect([...(await enableControllers(directory, true))].sort()).toEqual(['cpu', 'io', 'memory', 'pids']);
    expect(read(directory, 'cgroup.subtree_control')).toBe('+memory +pids +io');
    expect(read(directory, 'pilum-worker/cgroup.procs')).toBe(String(process.pid));
  });

  test('where they are enabled already nothing is changed', async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, 'cgroup.controllers'), 'memory pids\n');
    writeFileSync(join(directory, 'cgroup.subtree_control'), 'memory pids\n');
    expect([...(await enableControllers(directory, true))]).toEqual(['memory', 'pids']);
    expect(existsSync(join(directory, 'pilum-worker'))).toBe(false);
  });
});

describe('the cgroups of this machine', () => {
  const kept = keep();
  const mounts = parseCgroupMounts(readFileSync('/proc/self/mountinfo', 'utf8'));
  const unified = mounts.find(({ version }) => version === 2)?.mountPoint ?? '';

  test.each([1, 2])(
    'what is frozen stands still, goes on where it was, and ends with its cgroup (controllers of version %i)',
    async (version) => {
      const directory = join(unified, `pilum-test-${process.pid}-${version}`);
      mkdirSync(directory);
      kept.add(directory, () => rmdirSync(directory));
      const driver =
        version === 1
          ? cgroupV1({ trees: new Map(), freezer: directory, disks: [], limitsSockets: false })
          : cgroupV2(directory, new Set(), { freezes: true, limitsSockets: true, disks: [] });
      const group = await driver.create('one', LIMITS);
      const child = spawn('/bin/sh', ['-c', 'while read -r line; do echo "$line"; done'], { stdio: 'pipe' });
      const ended = once(child, 'exit');
      await group.add(child.pid ?? 0);
      const echo = async (text: string) => {
        child.stdin.write(`${text}\n`);
        const [said] = await once(child.stdout, 'data');
        return String(said).trim();
      };
      expect(await echo('before')).toBe('before');
      group.setFrozen(true);
      const answer = echo('frozen');
      expect(await Promise.race([answer, sleep(200, 'nothing')])).toBe('nothing');
      group.setFrozen(false);
      expect(await answer).toBe('frozen');
      group.setFrozen(true);
      await endCgroup(driver.find('one'));
      expect((await ended)[1]).toBe('SIGKILL');
      expect(await driver.list()).toEqual([]);
    },
  );

  test('have what instances need: a freezer, a limit for sockets, and one for reads', async () => {
    const driver = await detectCgroups(pino({ level: 'silent' }));
    expect(driver).toMatchObject({ freezes: true, limitsSockets: true });
    expect([...(driver?.controllers ?? [])].sort()).toEqual(['cpu', 'io', 'memory', 'pids']);
  });

  test('its disks are whole ones with something on them', async () => {
    const disks = await readDisks();
    expect(disks.length).toBeGreaterThan(0);
    for (const disk of disks) {
      expect(existsSync(`/sys/dev/block/${disk}/partition`)).toBe(false);
      expect(Number(read(`/sys/dev/block/${disk}/size`))).toBeGreaterThan(0);
    }
  });
});

test('a machine without cgroups says what it does without', () => {
  const notes = (isolation: 'sandbox' | 'none') =>
    limitsOf({ cgroups: null, inheritedDescriptors: [] }, isolation).notes.join();
  expect(notes('sandbox')).toContain('CPU is not limited');
  expect(notes('sandbox')).not.toContain('live on');
  expect(notes('none')).toContain('processes that functions have started live on');
});

describe('finding the cgroups', () => {
  const mountinfo = [
    '22 1 0:21 / /proc rw,nosuid - proc proc rw',
    '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory',
    '36 31 0:33 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct',
    '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
    '',
  ].join('\n');

  test('mounts of both versions are read from mountinfo', () => {
    expect(parseCgroupMounts(mountinfo)).toEqual([
      { version: 1, root: '/', mountPoint: '/sys/fs/cgroup/memory', controllers: ['rw', 'memory'] },
      { version: 1, root: '/docker/abc', mountPoint: '/sys/fs/cgroup/cpu', controllers: ['rw', 'cpu', 'cpuacct'] },
      { version: 2, root: '/', mountPoint: '/sys/fs/cgroup/unified', controllers: [] },
    ]);
  });

  test('the own cgroup is found in each hierarchy, also in a container that sees only its part', () => {
    const own = parseOwnCgroups('5:cpu,cpuacct:/docker/abc\n4:memory:/user/a:b\n0::/user.slice\n');
    expect(own).toEqual(
      new Map([
        ['cpu', '/docker/abc'],
        ['cpuacct', '/docker/abc'],
        ['memory', '/user/a:b'],
        ['', '/user.slice'],
      ]),
    );
    const [memory, cpu] = parseCgroupMounts(mountinfo);
    expect(directoryOf(memory!, '/user/a:b')).toBe('/sys/fs/cgroup/memory/user/a:b');
    expect(directoryOf(cpu!, '/docker/abc')).toBe('/sys/fs/cgroup/cpu');
    expect(directoryOf(cpu!, '/elsewhere')).toBe('/sys/fs/cgroup/cpu');
  });

  test('a name says whose it is and is one path segment', () => {
    const owner = { pid: 12, startedAt: '345', pidNamespace: '67', kernel: '89abcdef' };
    const name = cgroupName(owner, 'worker/1..', 'i-1');
    expect(name).toBe('12-345-67-k89abcdef.worker_1__.i-1');
    expect(ownerIn(name)).toEqual(owner);
  });
});
