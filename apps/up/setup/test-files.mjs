import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/**
 * Finds the programs that tests need, and the tests that `npm test` runs. It is read from the files themselves: a line
 * `// @needs redis, bubblewrap` in a test, or in what it imports from `test`, names programs of programs.mjs.
 * A line `// @set quick` or `// @set whole` says where a file belongs, for a reason that stands beside it; without one
 * a file belongs to the quick set if it needs no more than {@link QUICK_NEEDS}.
 */

/** A file that needs none but these tests one part by itself, and is quick. */
const QUICK_NEEDS = ['redis'];

/**
 * One file of tests.
 * @typedef {object} TestFile
 * @property {string} path From the root, with slashes.
 * @property {string[]} needs Names of programs.
 * @property {boolean} quick
 */

/**
 * Every file of tests, in the order of their paths.
 * @param {string} root The repository.
 * @returns {TestFile[]}
 */
export function findTestFiles(root) {
  /** @type {Map<string, Tags>} */
  const known = new Map();
  return readdirSync(join(root, 'test'), { recursive: true })
    .map((name) => `test/${String(name).replaceAll('\\', '/')}`)
    .filter((path) => path.endsWith('.test.ts') && !path.startsWith('test/fixtures/'))
    .sort()
    .map((path) => {
      const needs = [...needsOf(join(root, path), join(root, 'test'), known, new Set())].sort();
      const set =
        tagsOf(join(root, path), known).set ?? (needs.every((one) => QUICK_NEEDS.includes(one)) ? 'quick' : 'whole');
      return { path, needs, quick: set === 'quick' };
    });
}

/**
 * Those that the arguments of the runner name, as it takes them: any part of a path does.
 * @param {readonly TestFile[]} files
 * @param {readonly string[]} args
 */
export function filesNamedBy(files, args) {
  return files.filter(({ path }) => args.some((arg) => names(arg, path)));
}

/**
 * Those of the arguments that look like a path and name no test; the value of an option is none.
 * @param {readonly TestFile[]} files
 * @param {readonly string[]} args
 */
export function namesOfNothing(files, args) {
  return args.filter(
    (arg, i) =>
      /\/|\.ts$/.test(arg) &&
      !arg.startsWith('-') &&
      !args[i - 1]?.startsWith('-') &&
      !files.some(({ path }) => names(arg, path)),
  );
}

/** @param {string} arg @param {string} path */
function names(arg, path) {
  if (arg.startsWith('-')) return false;
  const filter = arg.replace(/^\.\//, '').replace(/:\d+$/, '');
  return path.includes(filter) || filter.endsWith(`/${path}`);
}

/**
 * The tags of a file, and its imports.
 * @typedef {{ needs: string[], set: string | undefined, imports: string[] }} Tags
 */

/** @param {string} file @param {Map<string, Tags>} known @returns {Tags} */
function tagsOf(file, known) {
  const before = known.get(file);
  if (before !== undefined) return before;
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // An import of something that is made, or of another kind.
  }
  const needs = [...text.matchAll(/^\/\/ @needs ([\w, -]+)/gm)].flatMap(([, names]) =>
    names.split(',').map((name) => name.trim()),
  );
  const imports = [...text.matchAll(/(?:from|import) ?\(?'(\.[^']+\.ts)'/g)].map(([, name]) =>
    join(dirname(file), name),
  );
  const tags = { needs, set: /^\/\/ @set (quick|whole)\b/m.exec(text)?.[1], imports };
  known.set(file, tags);
  return tags;
}

/** @param {string} file @param {string} home @param {Map<string, Tags>} known @param {Set<string>} seen @returns {Set<string>} */
function needsOf(file, home, known, seen) {
  seen.add(file);
  const { needs, imports } = tagsOf(file, known);
  const all = new Set(needs);
  for (const next of imports) {
    if (seen.has(next) || relative(home, next).startsWith('..')) continue;
    for (const need of needsOf(next, home, known, seen)) all.add(need);
  }
  return all;
}
