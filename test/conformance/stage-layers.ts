import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { layersIn } from '../../apps/worker/src/runtimes/contract/layers.ts';

/** What lies outside of every layer, and none of them may show. */
const SECRET = 'not for a function';

const LAYERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  texts: {
    'greeting.txt': 'from a layer\n',
    'deep/er/numbers.json': '[1, 2, 3]',
    'bin/hail': '#!/bin/sh\necho "hail $1"\n',
    'shared.py': 'import deepest\n\nNAME = "shared"\nDEEPEST = deepest.NAME\n',
    'python/deepest.py': 'NAME = "deepest"\n',
    'node_modules/tripler/package.json': '{"name": "tripler", "main": "index.cjs"}',
    'node_modules/tripler/index.cjs': 'exports.triple = (n) => 3 * n;\n',
    'node_modules/quadrupler/package.json':
      '{"name": "quadrupler", "type": "module", "exports": {"./all": "./all.js"}}',
    'node_modules/quadrupler/all.js':
      "import { triple } from 'tripler';\nimport { one } from 'only-here';\nexport const quadruple = (n) => triple(n) + one * n;\n",
    'node_modules/broken/package.json': '{"name": "broken", "type": "module", "exports": "./index.js"}',
    'node_modules/broken/index.js': 'export default () => {\n  return {;\n};\n',
  },
  others: {
    'other.txt': 'another layer\n',
    'shared.py': 'NAME = "shadowed"\n',
    'nodejs/node_modules/only-here/package.json': '{"name": "only-here", "type": "module", "exports": "./index.js"}',
    'nodejs/node_modules/only-here/index.js': 'export const one = 1;\n',
  },
};
/** Links in `texts`: those that an archive may hold, and those that an archive is refused for. */
const LINKS: Readonly<Record<string, string>> = {
  link: 'deep/../greeting.txt',
  'deep/up': '../greeting.txt',
  'deep/er/around': '../../deep',
  loop: 'loop',
  'out/sideways': '../../others/other.txt',
  'out/secret': '../../../secret.txt',
  'out/absolute': '/etc/passwd',
  'out/up': '../..',
};

/** Puts two layers where a worker has its own, and a secret where neither leads. */
export async function stageLayers(staging: string): Promise<void> {
  await writeFile(join(staging, 'secret.txt'), SECRET);
  for (const [name, files] of Object.entries(LAYERS)) {
    for (const [path, text] of Object.entries(files)) {
      const file = join(layersIn(staging), name, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text);
      if (path.startsWith('bin/')) await chmod(file, 0o755);
    }
  }
  for (const [path, target] of Object.entries(LINKS)) {
    const link = join(layersIn(staging), 'texts', path);
    await mkdir(dirname(link), { recursive: true });
    await symlink(target, link);
  }
}
