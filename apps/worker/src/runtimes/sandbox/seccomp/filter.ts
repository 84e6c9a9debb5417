import {
  ALLOWED_CALLS,
  ALLOWED_FAMILIES,
  ALLOWED_PERSONALITIES,
  NAMESPACE_FLAGS,
  NETLINK,
  REFUSED_REQUESTS,
} from './allowed.ts';
import { SYSCALL_NUMBERS } from './syscall-numbers.ts';

/** A processor for which there is a filter. */
export type FilteredMachine = keyof typeof SYSCALL_NUMBERS;

/** The kernel's names of processors in what a filter sees: linux/audit.h, AUDIT_ARCH_X86_64 and AUDIT_ARCH_AARCH64. */
const ARCHITECTURES: Readonly<Record<FilteredMachine, number>> = { x64: 0xc000_003e, arm64: 0xc000_00b7 };
/** Calls of the x32 ABI have this bit, and would come round a list of numbers. */
const X32_BIT = 0x4000_0000;

// Instructions of classic BPF, and where struct seccomp_data has its fields: linux/bpf_common.h, linux/seccomp.h.
const LOAD = 0x20;
const JUMP = 0x05;
const IF_EQUAL = 0x15;
const IF_GREATER = 0x25;
const IF_AT_LEAST = 0x35;
const IF_ANY_BIT = 0x45;
const RETURN = 0x06;
const AT_NUMBER = 0;
const AT_ARCHITECTURE = 4;
/** The lower half of an argument, of which these calls look at no more. */
const atArgument = (index: number) => 16 + 8 * index;

const ALLOW = 0x7fff_0000;
const failWith = (errno: number) => 0x0005_0000 | errno;
const EPERM = failWith(1);
const ENOSYS = failWith(38);
const EPROTONOSUPPORT = failWith(93);
const EAFNOSUPPORT = failWith(97);

interface Instruction {
  readonly code: number;
  readonly yes: number;
  readonly no: number;
  readonly value: number;
}

const load = (offset: number): Instruction => ({ code: LOAD, yes: 0, no: 0, value: offset });
const give = (action: number): Instruction => ({ code: RETURN, yes: 0, no: 0, value: action });
/** Skips so many instructions where the condition holds, and so many others where it does not. */
const skip = (code: number, value: number, yes: number, no: number): Instruction => ({
  code,
  value: value >>> 0,
  yes,
  no,
});

export const isFilteredMachine = (machine: string): machine is FilteredMachine => machine in SYSCALL_NUMBERS;

/**
 * Returns the program that decides which system calls a function may make, as the kernel reads it (an array of struct
 * sock_filter, linux/filter.h): what bubblewrap takes with `--seccomp`.
 */
export function seccompFilter(machine: FilteredMachine): Buffer {
  const numbers = SYSCALL_NUMBERS[machine];
  const numberOf = (name: string) => numbers[name] ?? Number.NaN;
  const program = [
    load(AT_ARCHITECTURE),
    skip(IF_EQUAL, ARCHITECTURES[machine], 1, 0),
    give(ENOSYS),
    load(AT_NUMBER),
    ...(machine === 'x64' ? [skip(IF_AT_LEAST, X32_BIT, 0, 1), give(ENOSYS)] : []),
    // What a newer kernel has is not there: programs know what to do without it.
    skip(IF_GREATER, Math.max(...Object.values(numbers)), 0, 1),
    give(ENOSYS),
    // Its flags lie where no filter can look; libraries go on with `clone`.
    ...only(numberOf('clone3'), [give(ENOSYS)]),
    ...only(numberOf('clone'), [
      load(atArgument(0)),
      skip(IF_ANY_BIT, NAMESPACE_FLAGS, 0, 1),
      give(EPERM),
      give(ALLOW),
    ]),
    ...only(numberOf('socket'), [
      load(atArgument(0)),
      skip(IF_EQUAL, NETLINK.family, 0, 4),
      load(atArgument(2)),
      skip(IF_EQUAL, NETLINK.protocol, 0, 1),
      give(ALLOW),
      give(EPROTONOSUPPORT),
      ...oneOf(0, ALLOWED_FAMILIES, ALLOW, EAFNOSUPPORT),
    ]),
    ...only(numberOf('ioctl'), oneOf(1, REFUSED_REQUESTS, EPERM, ALLOW)),
    ...only(numberOf('personality'), oneOf(0, ALLOWED_PERSONALITIES, ALLOW, EPERM)),
    ...search(rangesOf(ALLOWED_CALLS.map(numberOf).filter((number) => !Number.isNaN(number)))),
  ];
  return encode(program);
}

/** Instructions for one call, which all return; every other call passes them. */
function only(number: number, body: readonly Instruction[]): Instruction[] {
  return Number.isNaN(number) ? [] : [skip(IF_EQUAL, number, 0, body.length), ...body];
}

function oneOf(argument: number, values: readonly number[], action: number, otherwise: number): Instruction[] {
  const looks = values.map((value, index) => skip(IF_EQUAL, value, values.length - index, 0));
  return [load(atArgument(argument)), ...looks, give(otherwise), give(action)];
}

interface Range {
  readonly first: number;
  readonly last: number;
}

function rangesOf(numbers: readonly number[]): Range[] {
  const ranges: { first: number; last: number }[] = [];
  for (const number of [...new Set(numbers)].sort((a, b) => a - b)) {
    const before = ranges.at(-1);
    if (before?.last === number - 1) before.last = number;
    else ranges.push({ first: number, last: number });
  }
  return ranges;
}

/** Finds the range of a number by halves: some seven looks for any call. */
function search(ranges: readonly Range[]): Instruction[] {
  const middle = ranges.length >> 1;
  const pivot = ranges[middle];
  if (pivot === undefined) return [give(EPERM)];
  if (ranges.length === 1) {
    const { first, last } = pivot;
    return [skip(IF_AT_LEAST, first, 0, 2), skip(IF_GREATER, last, 1, 0), give(ALLOW), give(EPERM)];
  }
  const below = search(ranges.slice(0, middle));
  const jump: Instruction = { code: JUMP, yes: 0, no: 0, value: below.length };
  // A condition skips 255 instructions at most, and a jump any number.
  return [skip(IF_AT_LEAST, pivot.first, 0, 1), jump, ...below, ...search(ranges.slice(middle))];
}

function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(8 * program.length);
  for (const [index, { code, yes, no, value }] of program.entries()) {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(yes, 8 * index + 2);
    bytes.writeUInt8(no, 8 * index + 3);
    bytes.writeUInt32LE(value, 8 * index + 4);
  }
  return bytes;
}
