import { execFileSync } from 'node:child_process';
import {
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { ARCHIVE_LIMITS } from '@pilum/core/archives/archive-limits.ts';
import { judge } from '@pilum/core/archives/judge.ts';
import { readTar } from '@pilum/core/archives/tar-reader.ts';
import { unpack } from '@pilum/core/archives/unpack.ts';
import { describe, expect, it } from 'vitest';
import { longName, paxHeader, tarBytes, tarMember } from '../support/tar-bytes.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

/** Unpacks an archive, and says where. */
async function unpacked(bytes: Buffer): Promise<{ at: string; paths: string[] }> {
  const at = temporaryDirectory();
  const members = () =>
    readTar(
      (async function* () {
        for (let from = 0; from < bytes.length; from += 10_000) yield bytes.subarray(from, from + 10_000);
      })(),
      ARCHIVE_LIMITS,
    );
  const files = await unpack(await judge(members, ARCHIVE_LIMITS), members, at);
  return { at, paths: files.map(({ path }) => path) };
}

const LONG = `${'directory/'.repeat(15)}${'n'.repeat(180)}-größe.mjs`;
const MANY_HOLES = 60;

/** Files as tools make them, and what is to come of them. */
function tree(): { at: string; content: Record<string, Buffer> } {
  const at = temporaryDirectory();
  const content: Record<string, Buffer> = {};
  const put = (path: string, bytes: Buffer) => {
    mkdirSync(dirname(join(at, path)), { recursive: true });
    writeFileSync(join(at, path), bytes);
    content[path] = bytes;
  };
  put('index.mjs', Buffer.from('export default 1'));
  put(LONG, Buffer.from('long'));
  const holes = Buffer.alloc(MANY_HOLES * 100_000);
  put('holes.bin', Buffer.alloc(0));
  truncateSync(join(at, 'holes.bin'), holes.length);
  const file = openSync(join(at, 'holes.bin'), 'r+');
  for (let index = 0; index < MANY_HOLES; index += 2) {
    holes.write(`part ${index}`, index * 100_000);
    writeSync(file, `part ${index}`, index * 100_000);
  }
  content['holes.bin'] = holes;
  put('only-a-hole.bin', Buffer.alloc(0));
  truncateSync(join(at, 'only-a-hole.bin'), 300_000);
  content['only-a-hole.bin'] = Buffer.alloc(300_000);
  linkSync(join(at, 'index.mjs'), join(at, 'store.mjs'));
  content['store.mjs'] = Buffer.from('export default 1');
  symlinkSync('index.mjs', join(at, 'link.mjs'));
  content['link.mjs'] = Buffer.from('export default 1');
  return { at, content };
}

describe('an archive comes out as it went in', () => {
  it.each([
    ['--format=gnu'],
    ['--format=gnu', '-S'],
    ['--format=posix'],
    ['--format=posix', '-S', '--sparse-version=0.0'],
    ['--format=posix', '-S', '--sparse-version=0.1'],
    ['--format=posix', '-S', '--sparse-version=1.0'],
    ['--format=gnu', '-z'],
  ])('from tar %s %s %s', async (...options) => {
    const { at: source, content } = tree();
    const bytes = execFileSync('tar', ['-c', ...options.filter(Boolean), '-f', '-', '-C', source, '.'], {
      maxBuffer: 2 ** 26,
    });
    const { at, paths } = await unpacked(bytes);
    expect(paths).toEqual(Object.keys(content).sort());
    for (const [path, expected] of Object.entries(content)) {
      expect(readFileSync(join(at, path)).equals(expected), path).toBe(true);
    }
  });

  it.each(['PAX_FORMAT', 'GNU_FORMAT'])('from Python, as %s', async (format) => {
    const { at: source, content } = tree();
    const script = `import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|gz", format=tarfile.${format}) as archive: archive.add(sys.argv[1], ".")`;
    const { at, paths } = await unpacked(execFileSync('python3', ['-c', script, source], { maxBuffer: 2 ** 26 }));
    expect(paths).toEqual(Object.keys(content).sort());
    expect(readFileSync(join(at, LONG), 'utf8')).toBe('long');
    expect(readFileSync(join(at, 'store.mjs'), 'utf8')).toBe('export default 1');
  });
});

it('names in front of a member count, of a pax header more than of another, and what git says of all is left aside', async () => {
  const { at, paths } = await unpacked(
    tarBytes(
      paxHeader({ comment: '0123456789' }, 'g'),
      longName('long/name'),
      paxHeader({ path: 'pax/name', mtime: '1700000000.5' }),
      { name: 'short', content: 'x' },
      paxHeader({ size: '3' }),
      tarMember({ name: 'sized', content: 'abc', sizeBytes: 0 }),
      longName('pax/name', 'K'),
      { name: 'hard', type: '1', target: 'cut' },
    ),
  );
  expect(paths).toEqual(['hard', 'pax/name', 'sized']);
  expect(readFileSync(join(at, 'sized'), 'utf8')).toBe('abc');
});

it.each<[string, Record<string, string>]>([
  ['that lie over each other', { 'GNU.sparse.map': '0,2,1,1' }],
  ['that lie behind its end', { 'GNU.sparse.map': '99,3' }],
  ['that are more than is stored', { 'GNU.sparse.map': '0,2' }],
  ['of which one has no length', { 'GNU.sparse.map': '0' }],
  ['that are no numbers', { 'GNU.sparse.map': '0,x' }],
  ['in a way that is not known', { 'GNU.sparse.major': '2' }],
])('a sparse file is refused with parts %s', async (_what, records) => {
  const bytes = tarBytes(paxHeader({ 'GNU.sparse.size': '100', 'GNU.sparse.name': 'holes', ...records }), {
    name: 'x',
    content: 'abc',
  });
  await expect(unpacked(bytes)).rejects.toThrow(/^(holes is sparse|it is damaged)/);
});
