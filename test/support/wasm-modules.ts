// @needs wasmLinker
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

const FIXTURES = join(import.meta.dirname, '../fixtures/wasm');
const COMMANDS = ['echo', 'about', 'files', 'hostile', 'layers'];
const LIBRARIES = ['library'];
const RUST = ['words', 'tree'];

/** For modules in C that need nothing but wasi-libc. */
export const C_FLAGS = ['--target=wasm32-wasi', '-O2', '-Wl,--strip-all', '-nodefaultlibs', '-lc'];
const RUSTC = [join(homedir(), '.cargo/bin/rustc'), '/usr/bin/rustc'].find((path) => existsSync(path)) ?? 'rustc';

/** Why the modules of test/fixtures/wasm that are written in C cannot be built on this machine; null where they can. */
export async function modulesMissing(): Promise<string | null> {
  const hasLibrary = existsSync('/usr/include/wasm32-wasi') && (await answers('clang')) && (await answers('wasm-ld'));
  return hasLibrary ? null : 'clang, lld and wasi-libc are not installed';
}

/** The same of those in Rust. */
export async function rustMissing(): Promise<string | null> {
  const { stdout = '' } = await execa(RUSTC, ['--print', 'target-libdir', '--target', 'wasm32-wasip1'], {
    reject: false,
  });
  return existsSync(stdout) ? null : 'Rust cannot build for wasm32-wasip1: run "rustup target add wasm32-wasip1"';
}

const answers = async (program: string) => !(await execa(program, ['--version'], { reject: false })).failed;

/** Builds the modules of test/fixtures/wasm into a directory, as `<name>.wasm`; those in Rust where that is possible. */
export async function buildModules(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const to = (name: string) => join(directory, `${name}.wasm`);
  const clang = (name: string, ...flags: string[]) =>
    execa('clang', [...C_FLAGS, ...flags, join(FIXTURES, `${name}.c`), '-o', to(name)]);
  const rust = (await rustMissing()) === null ? RUST : [];
  await Promise.all([
    ...COMMANDS.map((name) => clang(name)),
    ...LIBRARIES.map((name) => clang(name, '-mexec-model=reactor')),
    ...rust.map((name) =>
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
