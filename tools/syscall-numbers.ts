// `node tools/syscall-numbers.ts`: writes the numbers of all system calls that the kernel headers of this machine know
// (Debian's linux-libc-dev), for the two processors that workers run on. To be run when the list of allowed ones grows.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const HEADERS = { x64: '/usr/include/x86_64-linux-gnu/asm/unistd_64.h', arm64: '/usr/include/asm-generic/unistd.h' };
const TARGET = join(import.meta.dirname, '../apps/worker/src/runtimes/sandbox/seccomp/syscall-numbers.ts');

/** Kernels before 64 bits have other calls of these names, which no 64-bit kernel has. */
const OLD_NAMES: Readonly<Record<string, string>> = {
  fstatat: 'newfstatat',
  stat: '',
  lstat: '',
  fstat64: '',
  sync_file_range2: '',
};

const tables = Object.entries(HEADERS).map(([machine, path]) => {
  const text = readFileSync(path, 'utf8');
  const found = [...text.matchAll(/^#define __NR(?:3264)?_([a-z0-9_]+)\s+(\d+)/gm)];
  const numbers = new Map<string, number>();
  for (const [, name = '', number] of found) {
    const known = machine === 'arm64' ? (OLD_NAMES[name] ?? name) : name;
    if (known !== '' && !['arch_specific_syscall', 'syscalls'].includes(known)) numbers.set(known, Number(number));
  }
  const lines = [...numbers].sort((a, b) => a[1] - b[1]).map(([name, number]) => `    ${name}: ${number},`);
  return `  ${machine}: {\n${lines.join('\n')}\n  },`;
});

writeFileSync(
  TARGET,
  `// Made by \`node tools/syscall-numbers.ts\` from the kernel's headers; do not edit.\n\n/** Numbers of system calls, by processor (as \`process.arch\` names it) and name. */\nexport const SYSCALL_NUMBERS: Readonly<Record<'x64' | 'arm64', Readonly<Record<string, number>>>> = {\n${tables.join('\n')}\n};\n`,
);
