import { describe, expect, it } from 'vitest';
import { ALLOWED_CALLS } from '../../../apps/worker/src/runtimes/sandbox/seccomp/allowed.ts';
import { seccompFilter } from '../../../apps/worker/src/runtimes/sandbox/seccomp/filter.ts';
import { SYSCALL_NUMBERS } from '../../../apps/worker/src/runtimes/sandbox/seccomp/syscall-numbers.ts';

const ARCHITECTURES = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;
type Machine = keyof typeof ARCHITECTURES;
const ERRORS: Readonly<Record<number, string>> = {
  1: 'EPERM',
  38: 'ENOSYS',
  93: 'EPROTONOSUPPORT',
  97: 'EAFNOSUPPORT',
};

/** Runs a filter as the kernel does, for one call. */
function decide(
  machine: Machine,
  number: number,
  args: readonly number[] = [],
  architecture: number = ARCHITECTURES[machine],
) {
  const program = seccompFilter(machine);
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number >>> 0, 0);
  data.writeUInt32LE(architecture >>> 0, 4);
  for (const [index, value] of args.entries()) data.writeUInt32LE(value >>> 0, 16 + 8 * index);
  let accumulator = 0;
  for (let at = 0, steps = 0; ; at++) {
    expect(++steps).toBeLessThan(64);
    const [code, then, otherwise, value] = [
      program.readUInt16LE(8 * at),
      program.readUInt8(8 * at + 2),
      program.readUInt8(8 * at + 3),
      program.readUInt32LE(8 * at + 4),
    ];
    const isTrue = {
      21: accumulator === value,
      37: accumulator > value,
      53: accumulator >= value,
      69: (accumulator & value) !== 0,
    };
    if (code === 0x06) return value === 0x7fff0000 ? 'allowed' : (ERRORS[value & 0xffff] ?? value);
    if (code === 0x20) accumulator = data.readUInt32LE(value);
    else if (code === 0x05) at += value;
    else at += isTrue[code as keyof typeof isTrue] ? then : otherwise;
  }
}

const SPECIAL = ['clone', 'clone3', 'socket', 'ioctl', 'personality'];

describe.each(['x64', 'arm64'] as const)('the filter of system calls for %s', (machine) => {
  const numbers = SYSCALL_NUMBERS[machine];
  const of = (name: string, ...args: number[]) => decide(machine, numbers[name] ?? -1, args);

  it('allows what stands in the list, and forbids every other call that there is', () => {
    const allowed = new Set(ALLOWED_CALLS);
    for (const [name, number] of Object.entries(numbers)) {
      if (SPECIAL.includes(name)) continue;
      expect([name, decide(machine, number)]).toEqual([name, allowed.has(name) ? 'allowed' : 'EPERM']);
    }
  });

  it('forbids what functions do not need and exploits do', () => {
    const forbidden = [
      ...[
        'io_uring_setup',
        'io_uring_enter',
        'keyctl',
        'add_key',
        'request_key',
        'userfaultfd',
        'perf_event_open',
        'bpf',
      ],
      ...[
        'ptrace',
        'process_vm_readv',
        'mount',
        'unshare',
        'setns',
        'pivot_root',
        'open_by_handle_at',
        'fanotify_init',
      ],
      ...['init_module', 'kexec_load', 'reboot', 'swapon', 'settimeofday', 'clock_settime', 'move_mount', 'fsopen'],
    ];
    for (const name of forbidden) expect([name, of(name)]).toEqual([name, 'EPERM']);
  });

  it('says of calls that are newer than it that there are none', () => {
    const newest = Math.max(...Object.values(numbers));
    expect(decide(machine, newest + 1)).toBe('ENOSYS');
    expect(decide(machine, 0x3fffffff)).toBe('ENOSYS');
    expect(of('clone3')).toBe('ENOSYS');
  });

  it('knows the calls of another processor’s ABI for what they are', () => {
    expect(decide(machine, numbers.read ?? -1, [], 0x40000003)).toBe('ENOSYS');
    if (machine === 'x64') expect(decide(machine, 0x40000000)).toBe('ENOSYS');
  });

  it('lets processes and threads be made, and no namespaces', () => {
    expect(of('clone', 0x003d0f00)).toBe('allowed');
    expect(of('clone', 17)).toBe('allowed');
    for (const flag of [0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
      expect(of('clone', flag | 17)).toBe('EPERM');
    }
  });

  it('lets sockets be made of the families that functions use', () => {
    for (const family of [1, 2, 10, 16]) expect(of('socket', family, 1, 0)).toBe('allowed');
    for (const family of [17, 38, 40, 29, 44]) expect(of('socket', family, 1, 0)).toBe('EAFNOSUPPORT');
    for (const family of [1, 2, 10]) expect(of('socket', family, 1, 17)).toBe('allowed');
  });

  it('lets a function ask for addresses and routes over netlink, and nothing else', () => {
    for (const protocol of [1, 2, 4, 9, 15, 16]) expect(of('socket', 16, 3, protocol)).toBe('EPROTONOSUPPORT');
    expect(of('socket', 16, 2, 0)).toBe('allowed');
  });

  it('lets a watcher be made, and watch nothing', () => {
    expect(of('inotify_init1')).toBe('allowed');
    expect(of('inotify_add_watch')).toBe('EPERM');
    for (const name of ['fanotify_init', 'fanotify_mark']) expect(of(name)).toBe('EPERM');
  });

  it('lets no input be pushed into a terminal, and the layout of memory be fixed', () => {
    expect(of('ioctl', 0, 0x5401)).toBe('allowed');
    for (const request of [0x5412, 0x541c]) expect(of('ioctl', 0, request)).toBe('EPERM');
    expect(of('personality', 0xffffffff)).toBe('allowed');
    expect(of('personality', 0x0400000)).toBe('EPERM');
  });
});
