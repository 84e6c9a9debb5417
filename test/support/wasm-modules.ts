import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

const FIXTURES = join(import.meta.dirname, '../fixtures/wasm');
const COMMANDS = ['echo', 'about', 'files', 'hostile'];
const LIBRARIES = ['library'];
const RUST = ['words'];

const C_FLAGS = ['--target=wasm32-wasi', '-O2', '-Wl,--strip-all', '-nodefaultlibs', '-lc'];
const RUSTC = [join(homedir(), '.cargo/bin/rustc'), '/usr/bin/rustc'].find((path) => existsSync(path)) ?? 'rustc';

let missing: Promise<string | null> | undefined;

/** Why the modules of test/fixtures/wasm cannot be built on this machine; null where they can. */
export function modulesMissing(): Promise<string | null> {
  missing ??= findMissing();
  return missing;
}

async function findMissing(): Promise<string | null> {
  const hasClang =
    existsSync('/usr/include/wasm32-wasi') && !(await execa('wasm-ld', ['--version'], { reject: false })).failed;
  if (!hasClang) return 'clang, lld and wasi-libc are not installed';
  const { stdout = '' } = await execa(RUSTC, ['--print', 'target-libdir', '--target', 'wasm32-wasip1'], {
    reject: false,
  });
  return existsSync(stdout) ? null : 'Rust cannot build for wasm32-wasip1: run "rustup target add wasm32-wasip1"';
}

/** Builds the modules of test/fixtures/wasm into a directory, as `<name>.wasm`. */
export async function buildModules(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const to = (name: string) => join(directory, `${name}.wasm`);
  const clang = (name: string, ...flags: string[]) =>
    execa('clang', [...C_FLAGS, ...flags, join(FIXTURES, `${name}.c`), '-o', to(name)]);
  await Promise.all([
    ...COMMANDS.map((name) => clang(name)),
    ...LIBRARIES.map((name) => clang(name, '-mexec-model=reactor')),
    ...RUST.map((name) =>
      execa(RUSTC, [
        '--target',
        'wasm32-wasip1',
        '-O',
        '-C',
        'strip=symbols',
        join(FIXTURES, `${name}.rs`),
        '-o',
        to(name),
      ]),
    ),
  ]);
}
