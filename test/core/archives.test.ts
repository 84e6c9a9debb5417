import { gzipSync } from 'node:zlib';
import { ARCHIVE_LIMITS, type ArchiveLimits } from '@pilum/core/archives/archive-limits.ts';
import { BadArchive } from '@pilum/core/archives/bad-archive.ts';
import { judge, verdictOf } from '@pilum/core/archives/judge.ts';
import { readTar } from '@pilum/core/archives/tar-reader.ts';
import { describe, expect, it } from 'vitest';
import { longName, paxHeader, type RawMember, tarBytes, tarMember } from '../support/tar-bytes.ts';

async function* inChunks(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
}

/** What an archive comes to: its files, or why it is refused. */
async function outcomeOf(bytes: Buffer, limits: Partial<ArchiveLimits> = {}, wanted: string[] = []) {
  const all = { ...ARCHIVE_LIMITS, ...limits };
  try {
    const tree = await judge(() => readTar(inChunks(bytes), all), all);
    return { ...verdictOf(tree, wanted), refused: '' };
  } catch (error) {
    if (!(error instanceof BadArchive)) throw error;
    return { names: [], found: {}, unpackedBytes: 0, refused: error.message };
  }
}

const deep = (depth: number) => Array.from({ length: depth }, () => 'd').join('/');
const link = (name: string, target: string): RawMember => ({ name, type: '2', target });
const hardLink = (name: string, target: string): RawMember => ({ name, type: '1', target });
const directory = (name: string): RawMember => ({ name, type: '5' });
const file = (name: string, content = 'x'): RawMember => ({ name, content });

describe('what an archive would cost is refused before it is paid', () => {
  const sixty = Array.from({ length: 60 }, (_, index) => [
    longName(`${deep(1800)}/${index}/file`),
    tarMember({ name: 'x' }),
  ]).flat();
  it.each<[string, Buffer, RegExp, Partial<ArchiveLimits>?]>([
    ['sixty files, each very deep', tarBytes(...sixty), /path of more than 1024 bytes/],
    ['a file that is deep', tarBytes(longName(`${deep(70)}/f`), file('x')), /more than 64 directories deep/],
    [
      'directories that are only part of paths',
      tarBytes(file('a/b/1'), file('c/d/2'), file('e/f/3')),
      /more than 8 files and directories/,
      { nodes: 8 },
    ],
    ['directories by themselves', tarBytes(directory('a'), directory('b')), /more than 1 files/, { nodes: 1 }],
    ['links', tarBytes(file('a'), link('b', 'a'), hardLink('c', 'a')), /more than 2 files/, { nodes: 2 }],
    [
      'the same name again and again',
      tarBytes(...Array.from({ length: 9 }, () => file('a'))),
      /more than 8 entries/,
      { members: 8 },
    ],
    ['paths that are long together', tarBytes(file('abcdef'), file('ghijkl')), /its paths/, { allPathBytes: 10 }],
    ['a long name', tarBytes(longName(`${'n'.repeat(300)}`), file('x')), /name of more than 255 bytes/],
    [
      'bytes',
      tarBytes(file('a', 'x'.repeat(60)), file('b', 'x'.repeat(60))),
      /more than 0 MiB/,
      { unpackedBytes: 100 },
    ],
    [
      'bytes of hard links',
      tarBytes(file('a', 'x'.repeat(60)), hardLink('b', 'a')),
      /unpacks to more than/,
      { unpackedBytes: 100 },
    ],
    ['a size without bytes', tarBytes({ name: 'a', content: '', sizeBytes: 2 ** 32 }), /unpacks to more than 1024 MiB/],
    [
      'bytes that shrink too well',
      gzipSync(tarBytes(file('z', '\0'.repeat(500_000)))),
      /200 times/,
      { freeBytes: 1e5 },
    ],
    [
      'a pax header',
      tarBytes(tarMember({ name: 'p', type: 'x', content: 'x'.repeat(600) }), file('a')),
      /header of more than 500 bytes/,
      { headerBytes: 500 },
    ],
    [
      'a pax header that only says it is large',
      tarBytes({ name: 'p', type: 'x', sizeBytes: 2 ** 32 }),
      /header of more/,
    ],
    [
      'a long name that only says it is long',
      tarBytes({ name: 'p', type: 'L', sizeBytes: 2 ** 32 }),
      /header of more than/,
    ],
  ])('%s', async (_what, bytes, message, limits) => {
    expect((await outcomeOf(bytes, limits)).refused).toMatch(message);
  });
});

describe('paths and links are judged by what the archive itself has made', () => {
  const steps = '../'.repeat(7);
  it.each<[string, (RawMember | Buffer)[], RegExp]>([
    [
      'a link behind a link that leads up',
      [link('a/b/c/d/e/f/g/l', `${steps}..`), link('a/b/c/d/e/f/g/l/esc', '../../../x'), file('esc/made/f')],
      /g\/l\/esc lies behind a link/,
    ],
    ['a file behind a link', [directory('d'), link('l', 'd'), file('l/f')], /l\/f lies behind a link/],
    ['a directory behind a link', [link('l', 'd'), directory('l/d')], /l\/d lies behind a link/],
    ['a hard link behind a link', [file('f'), link('l', 'd'), hardLink('l/h', 'f')], /lies behind a link/],
    ['a hard link through a link', [file('d/f'), link('l', 'd'), hardLink('h', 'l/f')], /h is a hard link to "l\/f"/],
    ['a link that leads out by itself', [link('l', '../x')], /l is a link that leads out .* "\.\.\/x"/],
    [
      'a link that leads out through another',
      [link('d/up', '..'), link('l', 'd/up/../x')],
      /l is a link that leads out/,
    ],
    [
      'a link that leads out through one that comes later',
      [link('l', 'd/e/../../../x'), directory('d/f'), link('d/e', '..')],
      /l is a link that leads out/,
    ],
    ['a link into a file system', [link('l', '/etc/passwd')], /l is a link that leads out/],
    ['an interpreter of no virtual environment', [link('venv/bin/python', '/root/python')], /leads out/],
    ['an interpreter that leads up', [file('venv/pyvenv.cfg'), link('venv/bin/python', '/usr/../etc/x')], /leads out/],
    [
      'something else of a virtual environment',
      [file('venv/pyvenv.cfg'), link('venv/bin/passwd', '/etc/passwd')],
      /leads out/,
    ],
    [
      'a link through an interpreter',
      [file('v/pyvenv.cfg'), link('v/bin/python', '/etc'), link('l', 'v/bin/python/passwd')],
      /l is a link that leads out/,
    ],
    ['a link to a place of programs, and up again', [link('l', '/usr/../etc/passwd')], /leads out/],
    ['a link through one of programs, and up', [link('u', '/usr/lib'), link('l', 'u/../../etc')], /l is a link/],
    ['a link of no length', [link('l', '')], /l is a link to nothing/],
    ['dots', [file('a/../b')], /a\/\.\.\/b lies outside of the archive: its path has ".." in it/],
    ['dots in a pax header', [paxHeader({ path: '../../evil' }), file('fine')], /evil lies outside/],
    ['dots in a long name', [longName('d/../../evil'), file('fine')], /evil lies outside/],
    ['dots of a hard link', [file('f'), hardLink('h', '../f')], /\.\.\/f lies outside/],
    ['an absolute path', [file('/etc/evil')], /\/etc\/evil lies outside of the archive: its path is absolute/],
    ['an absolute path of a hard link', [hardLink('h', '/etc/passwd')], /\/etc\/passwd lies outside/],
    ['a NUL', [paxHeader({ path: 'a\0b' }), file('x')], /NUL/],
    ['a line break', [file('a\nb')], /a\\nb has a character in its name/],
    ['an escape', [file('a\u001b[2Jb')], /a\\u001b\[2Jb has a character/],
    ['no UTF-8', [{ name: 'x', patch: (header) => header.writeUInt8(0xff, 0) }], /is not UTF-8/],
    ['a file that is a directory as well', [file('a'), file('a/b')], /a\/b lies in a file: a is one/],
    ['a directory that is a file as well', [file('a/b'), file('a')], /a is a directory with something in it/],
    ['a directory that is a link as well', [file('a/b'), link('a', 'c')], /a is a directory with something in it/],
    ['a link that is named as a directory', [link('a/', 'b')], /a\/ is named as a directory/],
    ['a file in the place of the archive', [file('.')], /stands where the directory of the archive/],
    ['no name', [file('')], /a member without a name/],
    ['a hard link to nothing', [hardLink('h', 'gone')], /h is a hard link to "gone", which is not in front of it/],
    ['a hard link to a directory', [directory('d'), hardLink('h', 'd')], /h is a hard link to a directory/],
    ['a hard link with a content', [file('f'), { ...hardLink('h', 'f'), content: 'x' }], /hard link and has a content/],
    ['a link with a content', [{ ...link('l', 'f'), content: 'x' }], /l is a symlink and has a content/],
    ['a device', [{ name: 'null', type: '3' }], /null is a character device, which code cannot hold/],
    ['a pipe', [{ name: 'fifo', type: '6' }], /fifo is a named pipe/],
    ['a kind that nobody knows', [{ name: 'odd', type: 'Z' }], /odd is of a kind that is not known \("Z"\)/],
    ['a name for all members', [paxHeader({ path: 'x' }, 'g'), file('a')], /says "path" of all its members/],
    ['a size that is none', [{ name: 'a', patch: (header) => header.write('zzz', 124) }], /a has a size that is no/],
  ])('%s', async (_what, members, message) => {
    expect((await outcomeOf(tarBytes(...members))).refused).toMatch(message);
  });

  it('links that stay inside are taken, those to programs of the machine too', async () => {
    const members = [
      file('lib/python3/site.py'),
      link('lib64', 'lib'),
      link('bin/python', '/usr/bin/python3'),
      link('bin/python3', 'python'),
      file('venv/pyvenv.cfg'),
      link('venv/bin/python3', '/root/.pyenv/versions/3.11.7/bin/python3'),
      link('venv/bin/python', 'python3'),
      link('to/itself', 'itself'),
      link('to/nothing', '../not/there/../yet'),
      link('to/root', '..'),
    ];
    const wanted = [
      'lib64/python3/site.py',
      'bin/python3',
      'venv/bin/python',
      'to/itself',
      'to/root/lib',
      'to/nothing',
      'lib/../..',
    ];
    const { refused, found } = await outcomeOf(tarBytes(...members), {}, wanted);
    expect([refused, Object.values(found)]).toEqual([
      '',
      ['file', 'machine', 'machine', 'missing', 'directory', 'missing', 'missing'],
    ]);
  });
});

describe('an archive is refused where it', () => {
  const whole = tarBytes(file('index.mjs', 'x'.repeat(2000)));
  const packed = gzipSync(whole);
  it.each<[string, Buffer, RegExp]>([
    ['was cut off in a header', whole.subarray(0, 300), /neither a tar archive/],
    ['was cut off in a file', whole.subarray(0, 1500), /ends too early/],
    ['was cut off in its packing', packed.subarray(0, packed.length - 12), /gzip says "unexpected end of file"/],
    ['was damaged in its packing', Buffer.concat([packed.subarray(0, 30), Buffer.alloc(30, 9)]), /gzip says/],
    [
      'was damaged in a header',
      Buffer.concat([tarMember(file('a')), Buffer.alloc(512, 65)]),
      /where a header should be/,
    ],
    ['is empty', Buffer.alloc(1024), /it is empty/],
    ['goes on behind its end', Buffer.concat([whole, whole]), /goes on after its end/],
    ['ends behind a long name', Buffer.concat([longName('n'), Buffer.alloc(1024)]), /ends too early/],
    ['is a zip archive', Buffer.from('PK\u0003\u0004'), /it is a zip archive/],
    ['is packed with zstd', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0]), /compressed with zstd/],
    ['is packed with xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), /compressed with xz/],
    ['is packed with bzip2', Buffer.from('BZh91AY'), /compressed with bzip2/],
  ])('%s', async (_what, bytes, message) => {
    expect((await outcomeOf(bytes)).refused).toMatch(message);
  });
});
