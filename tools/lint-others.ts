/**
 * Checks what is not TypeScript, `npm run lint:others`: the scripts for Redis with luacheck, put together as Redis gets them; Python with
 * ruff, the bootstrap joined as instances get it; and with `-- clippy` the engine in Rust, which takes minutes. A checker that is
 * missing here is left out, with a word; in CI it must be there.
 */
import { spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { definedScripts } from '@pilum/core/redis/script.ts';
import { BOOTSTRAP_PARTS } from '../apps/worker/src/runtimes/protocols/bootstraps.ts';

const root = join(import.meta.dirname, '..');
const BOOTSTRAP = 'apps/worker/src/runtimes/protocols/handler/bootstrap';

/** A checker of one language. */
interface Checker {
  readonly program: string;
  readonly install: string;
  /** Writes what is to be checked below a directory, and returns the arguments for the program. */
  arguments(directory: string): Promise<readonly string[]>;
  /** Working directory; the root of the checkout by default. */
  readonly cwd?: string;
}

const luacheck: Checker = {
  program: 'luacheck',
  install: 'apt-get install lua-check',
  arguments: async (directory) => {
    for (const path of globSync('{packages,apps}/*/src/**/*.ts', { cwd: root })) {
      const file = join(root, path);
      if (readFileSync(file, 'utf8').includes(' = defineScript(')) await import(file);
    }
    const files = definedScripts().map(({ name, text }) => writtenTo(join(directory, name), text));
    const known = ['redis', 'KEYS', 'ARGV', 'struct', 'cjson'];
    return [
      '--no-color',
      '--quiet',
      '--std',
      'lua51',
      '--no-max-line-length',
      '--ignore',
      UNUSED_FUNCTION,
      '--read-globals',
      ...known,
      '--',
      ...files,
    ];
  },
};

/** The functions of an included file that a script has no use for. */
const UNUSED_FUNCTION = '211';

const ruff: Checker = {
  program: 'ruff',
  install: 'pip install ruff==0.17.6',
  arguments: async (directory) => {
    const parts = (BOOTSTRAP_PARTS['python.py'] ?? []).map((part) => readFileSync(join(root, BOOTSTRAP, part), 'utf8'));
    const joined = writtenTo(join(directory, 'bootstrap.py'), parts.join('\n'));
    const others = globSync('{examples,test}/**/*.py', { cwd: root }).filter((path) => !path.includes('node_modules'));
    return ['check', '--isolated', '--no-cache', '--quiet', '--select', RULES, '--ignore', 'B904', joined, ...others];
  },
};
/** Names that do not exist, imports for nothing, and what is mostly a mistake. Functions of the tests leave out causes on purpose (B904). */
const RULES = 'E4,E7,E9,F,B';

const clippy: Checker = {
  program: 'cargo',
  install: 'rustup component add clippy',
  cwd: 'packages/wasmtime',
  arguments: async () => ['clippy', '--release', '--quiet', '--', '-D', 'warnings'],
};

function writtenTo(path: string, text: string): string {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

/** @returns whether nothing was found */
async function check({ program, install, cwd = '.', ...checker }: Checker, directory: string): Promise<boolean> {
  if (spawnSync(program, ['--version'], { stdio: 'ignore' }).status !== 0) {
    console.error(`${program} is not installed (${install}): what it checks is left out.`);
    return process.env.CI !== 'true';
  }
  const { status } = spawnSync(program, await checker.arguments(directory), { stdio: 'inherit', cwd: join(root, cwd) });
  if (status === 0) console.log(`${program}: nothing found.`);
  return status === 0;
}

const checkers = process.argv.includes('clippy') ? [luacheck, ruff, clippy] : [luacheck, ruff];
const directory = mkdtempSync(join(tmpdir(), 'lint-'));
try {
  for (const checker of checkers) if (!(await check(checker, directory))) process.exitCode = 1;
} finally {
  rmSync(directory, { recursive: true, force: true });
}
