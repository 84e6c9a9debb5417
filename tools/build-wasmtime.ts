// `npm run build:wasmtime`: builds the wasmtime engine, packages/wasmtime, and puts it where workers find it. What cargo
// makes on the way is kept in a cache of this user, by the lock file: the first time takes some 14 minutes of one
// processor, and the next ones seconds.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

const crate = join(import.meta.dirname, '../packages/wasmtime');
const cargo =
  [process.env.CARGO, join(homedir(), '.cargo/bin/cargo')].find((path) => path && existsSync(path)) ?? 'cargo';

const lock = createHash('sha256').update(readFileSync(join(crate, 'Cargo.lock')));
const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
const target = join(cache, 'pilum', `wasmtime-${lock.digest('hex').slice(0, 16)}`);

const { exitCode, originalMessage, failed } = await execa(cargo, ['build', '--release', '--locked'], {
  cwd: crate,
  env: { CARGO_TARGET_DIR: target },
  stdio: 'inherit',
  reject: false,
});
if (failed) {
  console.error(
    exitCode === undefined
      ? `cargo could not be started (${originalMessage}): install Rust from https://rustup.rs and start again.`
      : `cargo has failed with exit code ${exitCode}.`,
  );
  process.exit(1);
}

const library = ['libpilum_wasmtime.so', 'libpilum_wasmtime.dylib'].find((name) =>
  existsSync(join(target, 'release', name)),
);
if (library === undefined) throw new Error(`cargo has left no library in ${target}`);
const build = join(crate, 'build');
mkdirSync(build, { recursive: true });
// Under another name first: a worker may be loading it.
copyFileSync(join(target, 'release', library), join(build, 'wasmtime.node.new'));
renameSync(join(build, 'wasmtime.node.new'), join(build, 'wasmtime.node'));
console.log(`wasmtime is built: ${join(build, 'wasmtime.node')}`);
