import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { readDevArguments } from '../../apps/up/setup/arguments.mjs';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { isAlive, Up, type UpOptions } from '../support/up.ts';
import { waitFor } from '../support/wait-for.ts';

/** Files of a new directory. */
function tree(files: Record<string, string>): string {
  const root = temporaryDirectory();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

/** A `dev` whose sources are three small files. */
function dev(options: Partial<UpOptions> = {}): { up: Up; sources: string } {
  const sources = tree({ 'core/src/a.ts': '', 'api/src/deep/b.ts': '', 'worker/src/c.ts': '' });
  const environment = { ...options.environment, TEST_SOURCES: sources };
  return { up: new Up({ data: temporaryDirectory(), ...options, environment, runner: 'run-dev.ts' }), sources };
}

it('a change of the source starts again what has it: the API, the workers, or for the core both', async () => {
  const { up, sources } = dev({ arguments: ['--workers', '2'] });
  await up.shows(/^dev +watching/m);
  const first = up.pids();
  writeFileSync(join(sources, 'worker/src/c.ts'), '// another');
  await up.shows(/^dev +changed +worker\/src\/c\.ts; starting worker again$/m);
  for (const name of ['worker-1', 'worker-2']) await up.shows(new RegExp(`^${name} +ready`, 'm'), 2);
  expect(up.pid('api')).toBe(first.get('api'));
  expect(up.pid('worker-1')).not.toBe(first.get('worker-1'));
  expect(up.pid('worker-2')).not.toBe(first.get('worker-2'));

  // As editors save: another file in the place of the first, and a hidden one beside it that is no source.
  writeFileSync(join(sources, 'api/src/deep/.b.ts.swp'), '');
  writeFileSync(join(sources, 'api/src/deep/b.ts~'), '');
  renameSync(join(sources, 'api/src/deep/b.ts~'), join(sources, 'api/src/deep/b.ts'));
  await up.shows(/^dev +changed +api\/src\/deep\/b\.ts; starting API again$/m);
  await up.shows(/^api +ready/m, 2);

  writeFileSync(join(sources, 'core/src/new.ts'), '');
  await up.shows(/^dev +changed +core\/src\/new\.ts; starting API and worker again$/m);
  await up.shows(/^api +ready/m, 3);
  for (const name of ['worker-1', 'worker-2']) await up.shows(new RegExp(`^${name} +ready`, 'm'), 3);
  expect(up.pid('redis')).toBe(first.get('redis'));
  expect(up.text).not.toContain('ended (');
});

it('functions are deployed at the start, and again at each save that changes them', async () => {
  const files = tree({
    'hello.mjs': 'export default () => 1;',
    'many/index.ts': "import { two } from './two.ts'; export default () => two;",
    'many/two.ts': 'export const two = 2;',
    'many/pilum.json': '{"runtime": "process", "public": true}',
    'all/one.py': 'def handler(event, context): return 1',
    'all/one.json': '{"limits": {"memoryMiB": 64}}',
    'all/notes.md': '',
  });
  const { up } = dev({
    api: 'deployed-to.mjs',
    arguments: [
      '--function',
      `hello=${files}/hello.mjs`,
      `--function=many=${files}/many`,
      '--functions',
      `${files}/all`,
    ],
    environment: { PILUM_API_KEY: 'a-key-of-the-operator' },
  });
  await up.shows(/^hello +deployed +version 1 \(at the start\)$/m);
  await up.shows(/^one +deployed +version 3 \(at the start\)$/m);
  expect(up.text).toContain('put hello file {"runtime":"process","entry":"hello.mjs"} Bearer a-key-of-the-operator');
  expect(up.text).toContain('put many tar {"runtime":"process","entry":"index.ts","public":true}');
  expect(up.text).toContain('put one file {"runtime":"process","entry":"one.py","limits":{"memoryMiB":64}}');

  writeFileSync(join(files, 'hello.mjs'), 'export default () => 2;');
  await up.shows(/^hello +deployed +version 4 \(hello\.mjs changed\)$/m);
  writeFileSync(join(files, 'many/two.ts'), 'export const two = 3;');
  await up.shows(/^many +deployed +version 5 \(many\/two\.ts changed\)$/m);
  writeFileSync(join(files, 'all/one.json'), '{"limits": {"memoryMiB": 65}}');
  await up.shows(/^one +deployed +version 6 \(one\.json changed\)$/m);
  writeFileSync(join(files, 'all/two.mjs'), 'export default () => 2;');
  await up.shows(/^two +deployed +version 7 \(two\.mjs changed\)$/m);

  writeFileSync(join(files, 'hello.mjs'), 'REFUSED');
  await up.shows(/^hello +not deployed \(hello\.mjs changed\): The code does not load\. entry is odd$/m);
  writeFileSync(join(files, 'hello.mjs'), 'export default () => 3;');
  await up.shows(/^hello +deployed +version 8 \(hello\.mjs changed\)$/m);

  const pids = [...up.pids().values()];
  up.child.kill('SIGINT');
  expect(await up.ended).toEqual({ code: 0, signal: null });
  await waitFor(() => !pids.some(isAlive), { what: 'the end of all parts' });
});

it('a function that is not there ends it with one sentence', async () => {
  const { up } = dev({ arguments: ['--function', 'hello=/nowhere/hello.mjs'] });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text).toContain('There is no /nowhere/hello.mjs: name a function that is there.');
});

it('its arguments are those of up, and the functions', () => {
  const read = (...argv: string[]) => readDevArguments(argv, {}, { here: '/home/ada', root: '/home/ada/pilum' });
  expect(read('--port', '81', '--function', 'a=./a.mjs', '--function=b=b', '--functions', 'all')).toMatchObject({
    port: 81,
    functions: [
      { name: 'a', path: '/home/ada/a.mjs' },
      { name: 'b', path: '/home/ada/b' },
    ],
    directories: ['/home/ada/all'],
  });
  expect(() => read('--function', 'hello')).toThrow(/^--function needs a name and a file.*\n\nnpm run dev/);
  expect(() => read('--function', 'Not_A_Name=a')).toThrow(/^--function needs a name/);
  expect(() => read('--functions=')).toThrow(/^--functions needs a directory/);
  expect(() => read('--bogus')).toThrow(/^Unknown option '--bogus'/);
});
