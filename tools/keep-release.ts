// `npm run keep-release -- COMMIT`: keeps what runs of a release in test/fixtures/releases, for the test that runs the release
// before beside this tree. Neither history nor a network is needed to run it from there.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';

const FILE = 'test/fixtures/releases/before.tar.br';
/** The sources of the processes of a release. Their dependencies are those of the tree that runs them. */
const SOURCES = ['apps/api', 'apps/worker', 'packages/core', 'package.json'];

const root = join(import.meta.dirname, '..');
const [name = 'HEAD'] = process.argv.slice(2);
const git = (...args: string[]) => execFileSync('git', args, { cwd: root, maxBuffer: 256 * 1_048_576 });

const commit = git('rev-parse', '--verify', `${name}^{commit}`).toString().trim();
// Git writes the commit into the archive, and the same commit gives the same bytes.
const archive = git('archive', '--format=tar', commit, ...SOURCES);
const packed = brotliCompressSync(archive, {
  params: {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_LGWIN]: constants.BROTLI_MAX_WINDOW_BITS,
    [constants.BROTLI_PARAM_SIZE_HINT]: archive.length,
  },
});
writeFileSync(join(root, FILE), packed);
console.log(`${FILE} has ${commit}: ${Math.ceil(packed.length / 1024)} KiB`);
