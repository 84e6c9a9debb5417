import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { OVERHEADS } from '../../../apps/worker/src/runtimes/contract/overheads.ts';
import { rlimitScript, rlimitsFor } from '../../../apps/worker/src/runtimes/sandbox/rlimits.ts';
import { fill } from '../../conformance/snapshots.ts';

const { limits } = fill({ runtime: 'process' }).spec;

test('the shell of this machine sets every limit and becomes the command', () => {
  const script = rlimitScript({ openFiles: 99, fileMiB: 3, processes: 77, dataMiB: 500 });
  const table = execFileSync('/bin/sh', ['-c', script, 'pilum', 'cat', '/proc/self/limits'], { encoding: 'utf8' });
  const limit = (name: string) => new RegExp(`^Max ${name} +(\\S+) +(\\S+)`, 'm').exec(table)?.slice(1);
  expect(limit('open files')).toEqual(['99', '99']);
  expect(limit('file size')).toEqual([String(3 * 1024 * 1024), String(3 * 1024 * 1024)]);
  expect(limit('processes')).toEqual(['77', '77']);
  expect(limit('data size')).toEqual([String(500 * 1024 * 1024), String(500 * 1024 * 1024)]);
  expect(limit('core file size')).toEqual(['0', '0']);
});

test('a limit in force that is lower already stays, and does no harm', () => {
  const script = rlimitScript({ openFiles: 1024, fileMiB: 1, processes: null, dataMiB: null });
  const outer = ['-c', 'ulimit -n 64; exec "$@"', 'outer', '/bin/sh', '-c', script, 'pilum', 'sh', '-c', 'ulimit -n'];
  expect(execFileSync('/bin/sh', outer, { encoding: 'utf8' }).trim()).toBe('64');
});

test('processes are counted with what the interpreter needs, and with slack where others share the count', () => {
  const processes = (counting: 'namespace' | 'own-uid' | 'shared-uid') =>
    rlimitsFor(limits, OVERHEADS.node, { counting, memoryCgroup: true }).processes;
  expect(processes('namespace')).toBe(84);
  expect(processes('own-uid')).toBe(84);
  expect(processes('shared-uid')).toBeGreaterThan(1000);
});

test('memory is limited by rlimit only where no cgroup does it', () => {
  const data = (memoryCgroup: boolean) =>
    rlimitsFor(limits, OVERHEADS.python, { counting: 'namespace', memoryCgroup }).dataMiB;
  expect(data(true)).toBeNull();
  expect(data(false)).toBe(256 + OVERHEADS.python.dataMiB);
});
