import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const page = readFileSync(join(root, 'docs/architecture.md'), 'utf8');

/** One section of docs/architecture.md. */
function sectionOf(section: string): string {
  return (
    page
      .slice(page.indexOf(`### ${section}\n`))
      .split('\n### ', 2)[0]
      ?.split('\n## ')[0] ?? ''
  );
}

/** The folders of one section of docs/architecture.md, in their order. */
function foldersOf(section: string): string[] {
  return [...sectionOf(section).matchAll(/^\| `([a-z-]+)` \|/gm)].map((match) => match[1] ?? '');
}

function sourcesIn(directory: string): string[] {
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

/** What a source file imports, as paths from the root; packages by their names. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  const names = [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '');
  return names.map((name) => {
    if (name.startsWith('@pilum/core/')) return name.replace('@pilum/core/', 'packages/core/src/');
    return name.startsWith('.') ? normalize(join(dirname(file), name)) : name;
  });
}

describe.each(['packages/core/src', 'apps/api/src', 'apps/worker/src'])('%s', (home) => {
  const folders = foldersOf(home);
  const folderOf = (path: string) => relative(home, path).split('/')[0] ?? '';

  it('has the folders that docs/architecture.md lists, and no others', () => {
    const found = readdirSync(join(root, home), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(found.map((entry) => entry.name).sort()).toEqual([...folders].sort());
  });

  it('imports only folders that stand before one’s own', () => {
    const wrong: string[] = [];
    for (const file of sourcesIn(home)) {
      const own = folders.indexOf(folderOf(file));
      if (own < 0) continue; // files beside the folders put the house together
      for (const imported of importsOf(file)) {
        if (!imported.startsWith(`${home}/`)) continue;
        const theirs = folders.indexOf(folderOf(imported));
        if (theirs < 0 || theirs > own) wrong.push(`${file} imports ${imported}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('imports no other app, and core imports none', () => {
    const wrong: string[] = [];
    for (const file of sourcesIn(home)) {
      for (const imported of importsOf(file)) {
        const isOtherApp = imported.startsWith('apps/') && !imported.startsWith(`${home}/`);
        if (isOtherApp || /^@pilum\/(?!core)/.test(imported)) wrong.push(`${file} imports ${imported}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

it.each(['packages/core', 'apps/api', 'apps/worker', 'apps/up'])(
  '%s declares each package that it imports',
  (workspace) => {
    const { dependencies } = JSON.parse(readFileSync(join(root, workspace, 'package.json'), 'utf8'));
    const packages = sourcesIn(`${workspace}/src`)
      .flatMap((file) => [
        ...readFileSync(join(root, file), 'utf8').matchAll(/^(?:import|export|\}) .*from '([^']+)';$/gm),
      ])
      .map(([, name = '']) => name)
      .filter((name) => /^@?[a-z]/.test(name) && !/^(?:node:|packages\/|apps\/)/.test(name))
      .map((name) => name.split('/', name.startsWith('@') ? 2 : 1).join('/'));
    const others = [...new Set(packages)].filter((name) => !Object.hasOwn(dependencies, name));
    expect(others, 'the image of Pilum has no package that is only a dependency of the tests').toEqual([]);
  },
);

describe('apps/worker/src/runtimes', () => {
  const home = 'apps/worker/src/runtimes';
  const rows = [...sectionOf(home).matchAll(/^\| `([a-z-]+)` \|.*\|([^|]*)\|$/gm)];
  const allowed = new Map(
    rows.map(([, folder = '', imports = '']) => [
      folder,
      [...imports.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name),
    ]),
  );
  const folderOf = (path: string) => relative(home, path).split('/')[0] ?? '';

  it('has the folders that docs/architecture.md lists, and no others', () => {
    const found = readdirSync(join(root, home), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(found.map((entry) => entry.name).sort()).toEqual([...allowed.keys()].sort());
  });

  it('imports across its inner walls only what docs/architecture.md allows', () => {
    const wrong: string[] = [];
    for (const file of sourcesIn(home)) {
      const own = folderOf(file);
      if (!allowed.has(own)) continue; // the registry beside the folders puts them together
      for (const imported of importsOf(file)) {
        if (!imported.startsWith(`${home}/`)) continue;
        const theirs = folderOf(imported);
        if (theirs !== own && !allowed.get(own)?.includes(theirs)) wrong.push(`${file} imports ${imported}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe('a file', () => {
  const homes = ['packages/core/src', 'apps/api/src', 'apps/up/src', 'apps/worker/src'];

  it('has docstrings that begin with a noun or a verb', () => {
    const docstring = /\/\*\*[\s*]*((?:(?!\*\/)[\s\S])*)\*\//g;
    const wrong = homes.flatMap(sourcesIn).flatMap((file) =>
      [...readFileSync(join(root, file), 'utf8').matchAll(docstring)]
        .map(([, text = '']) => text.split('\n')[0] ?? '')
        .filter((text) => /^(?:How|It|Of|What|When|Where|Which|Who|Whose|Why)\b/.test(text))
        .map((text) => `${file}: ${text}`),
    );
    expect(wrong).toEqual([]);
  });

  it('has 520 lines at most', () => {
    const lists = ['apps/worker/src/runtimes/sandbox/seccomp/syscall-numbers.ts']; // one line for each system call
    const long = [...homes, 'bench', 'test', 'tools']
      .flatMap(sourcesIn)
      .filter((file) => readFileSync(join(root, file), 'utf8').split('\n').length > 521);
    expect(long).toEqual(lists);
  });
});

it('no function takes a namespace and an id as two strings, of which one may be taken for the other', () => {
  const pair = /\bnamespace: string,\s*(?:artifactId|taskId|digest): string/;
  const wrong = ['packages/core/src', 'apps/api/src', 'apps/worker/src']
    .flatMap(sourcesIn)
    .filter((file) => pair.test(readFileSync(join(root, file), 'utf8')));
  expect(wrong).toEqual([]);
});

it('only main.ts of an app and set-up read the environment', () => {
  const files = ['packages/core/src', 'apps/api/src', 'apps/worker/src'].flatMap(sourcesIn);
  const readers = files.filter((file) => readFileSync(join(root, file), 'utf8').includes('process.env'));
  expect(readers.sort()).toEqual(['apps/api/src/main.ts', 'apps/worker/src/main.ts']);
});

it('BullMQ is known to the queue’s room and to Bull Board only', () => {
  const files = ['packages/core/src', 'apps/api/src', 'apps/worker/src'].flatMap(sourcesIn);
  const knowing = files.filter((file) => importsOf(file).includes('bullmq'));
  expect(knowing.filter((file) => !file.startsWith('packages/core/src/queue/'))).toEqual([
    'apps/api/src/observability/bull-board.ts',
  ]);
});

it('reads what functions send through the one guard, so that nothing that is thrown there ends a worker', () => {
  // What runs in a process of its own may end with it: the worker starts another one.
  const ownProcesses = /\/(wasm\/engine|bootstrap|network\/relay)\//;
  const outside = sourcesIn('apps/worker/src/runtimes').filter((file) => !ownProcesses.test(file));
  const unguarded = outside.filter((file) =>
    /\.(on|once)\('(data|readable)'/.test(readFileSync(join(root, file), 'utf8')),
  );
  expect(unguarded).toEqual(['apps/worker/src/runtimes/contract/intake.ts']);
});
