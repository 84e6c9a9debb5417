import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { PROGRAMS } from '../../apps/up/setup/programs.mjs';
import { filesNamedBy, findTestFiles } from '../../apps/up/setup/test-files.mjs';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const ROOT = join(import.meta.dirname, '../..');

function tree(files: Record<string, string>): string {
  const root = temporaryDirectory();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

it('a file needs what it says, and what all that it imports from the tests says', () => {
  const root = tree({
    'apps/api.ts': '// @needs docker\n',
    'test/support/redis.ts': '// @needs redis\n',
    'test/support/pilum.ts':
      "// @needs bubblewrap\nimport { startRedis } from './redis.ts';\nimport type { A } from '../support/circle.ts';\n",
    'test/support/circle.ts': "import './pilum.ts';\n",
    'test/a/alone.test.ts': "import { a } from '../../apps/api.ts';\n// it @needs nothing\n",
    'test/a/redis.test.ts': "import {\n  startRedis,\n} from '../support/redis.ts';\n",
    'test/a/late.test.ts': "const { startRedis } = await import('../support/redis.ts');\n",
    'test/a/whole.test.ts': "import { startPilum } from '../support/pilum.ts';\n",
    'test/a/road.test.ts':
      "// @needs python, jq\n// @set quick: the one road.\nimport { startPilum } from '../support/pilum.ts';\n",
    'test/a/slow.test.ts': '// @set whole: it takes long.\n',
    'test/fixtures/not.test.ts': '',
  });
  expect(findTestFiles(root)).toEqual([
    { path: 'test/a/alone.test.ts', needs: [], quick: true },
    { path: 'test/a/late.test.ts', needs: ['redis'], quick: true },
    { path: 'test/a/redis.test.ts', needs: ['redis'], quick: true },
    { path: 'test/a/road.test.ts', needs: ['bubblewrap', 'jq', 'python', 'redis'], quick: true },
    { path: 'test/a/slow.test.ts', needs: [], quick: false },
    { path: 'test/a/whole.test.ts', needs: ['bubblewrap', 'redis'], quick: false },
  ]);
});

it('files are named as the runner takes it: by any part of a path', () => {
  const files = ['test/core/states.test.ts', 'test/core/offers.test.ts', 'test/up/up.test.ts'].map((path) => ({
    path,
    needs: [],
    quick: true,
  }));
  const named = (...args: string[]) => filesNamedBy(files, args).map(({ path }) => path);
  expect(named('test/core/states.test.ts')).toEqual(['test/core/states.test.ts']);
  expect(named('./test/core/states.test.ts:12')).toEqual(['test/core/states.test.ts']);
  expect(named('/somewhere/pilum/test/up/up.test.ts')).toEqual(['test/up/up.test.ts']);
  expect(named('core', '-t', 'a part')).toEqual(['test/core/states.test.ts', 'test/core/offers.test.ts']);
  expect(named('-t', 'a part', '--reporter=verbose')).toEqual([]);
});

it('the tests of this repository need programs that set-up knows, and one that needs only Node asks for no other', () => {
  const files = findTestFiles(ROOT);
  expect(files.flatMap(({ needs }) => needs).filter((need) => !Object.hasOwn(PROGRAMS, need))).toEqual([]);
  expect(files.find(({ path }) => path === 'test/core/states.test.ts')).toMatchObject({ needs: [], quick: true });
  const quick = files.filter((file) => file.quick);
  expect(quick.length).toBeGreaterThan(50);
  // One road from end to end, and no compiler.
  expect(quick.map(({ path }) => path)).toContain('test/e2e/first-light.test.ts');
  const large = Object.entries(PROGRAMS).filter(([, program]) => 'wholeOnly' in program || 'ownersChoice' in program);
  for (const [name] of large) expect(quick.filter(({ needs }) => needs.includes(name))).toEqual([]);
});

it('npm scripts say which command runs what', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  expect(scripts.verify).toMatch(/ && npm run test:all$/);
  expect(scripts.test).toMatch(/prepare\.mjs test$/);
});
