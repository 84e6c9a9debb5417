import { ARCHIVE_LIMITS, type ArchiveLimits } from '@pilum/core/archives/archive-limits.ts';
import { judge, verdictOf } from '@pilum/core/archives/judge.ts';
import { readZip } from '@pilum/core/archives/zip-reader.ts';
import { describe, expect, it } from 'vitest';
import { type RawZipMember, zipBytes } from '../support/zip-bytes.ts';

const judged = (bytes: Buffer, limits: Partial<ArchiveLimits> = {}) => {
  const all = { ...ARCHIVE_LIMITS, ...limits };
  return judge(() => readZip({ bytes }, all, true), all);
};

const LINK = 0o120777;
const PROGRAM = 0o100755;

describe('a zip archive is refused for', () => {
  const x = 'x'.repeat(100);
  const zeros = Buffer.alloc(200_000);
  it.each<[string, RawZipMember[], RegExp, Partial<ArchiveLimits>?]>([
    ['a path that leaves it', [{ name: '../evil' }], /evil lies outside/],
    ['a path that leaves it as Windows writes it', [{ name: '..\\evil' }], /evil lies outside/],
    ['an absolute path', [{ name: '/etc/evil' }], /lies outside of the archive: its path is absolute/],
    [
      'a path that begins with a drive',
      [{ name: 'C:\\evil' }],
      /lies outside of the archive: its path begins with a drive/,
    ],
    ['a link that leads out', [{ name: 'l', mode: LINK, content: '../x' }], /l is a link that leads out/],
    ['what lies behind a link', [{ name: 'l', mode: LINK, content: '.' }, { name: 'l/f' }], /lies behind a link/],
    ['a link that is long', [{ name: 'l', mode: LINK, content: 'x'.repeat(2000) }], /target is no path/],
    ['a device', [{ name: 'd', mode: 0o020666 }], /d is a device or a pipe/],
    ['a directory with a content', [{ name: 'd/', content: 'x' }], /d\/ is a directory and has a content/],
    ['a password', [{ name: 'secret', flags: 1 }], /secret is encrypted/],
    ['another compression', [{ name: 'new', method: 93 }], /new is compressed with zstd/],
    ['what grows too much', [{ name: 'zeros', content: zeros }], /200 times/, { freeBytes: 1000 }],
    ['what says it is small', [{ name: 'a', content: x, says: { sizeBytes: 3 } }], /a is damaged.*too many bytes/],
    ['what says it is large', [{ name: 'a', content: x, says: { sizeBytes: 900 } }], /a is damaged.*not enough bytes/],
    ['what is damaged', [{ name: 'a', content: x, says: { crc: 1 } }], /a is damaged: its checksum is another/],
    [
      'bytes of two members',
      [
        { name: 'a', content: x },
        { name: 'b', says: { at: 0 } },
      ],
      /b is called "a" elsewhere/,
    ],
    [
      'the same member twice',
      [
        { name: 'a', content: x },
        { name: 'a', content: x, says: { at: 0 } },
      ],
      /a shares its bytes with a/,
    ],
    ['two names of one member', [{ name: 'a', localName: 'b' }], /a is called "b" elsewhere/],
    ['too many members', [{ name: 'a' }, { name: 'b' }], /more than 1 entries/, { members: 1 }],
  ])('%s', async (_what, members, message, limits) => {
    await expect(judged(zipBytes(...members), limits)).rejects.toThrow(message);
  });

  it('being none, or being cut off', async () => {
    const whole = zipBytes({ name: 'a', content: 'x' });
    await expect(judged(whole.subarray(0, whole.length - 8))).rejects.toThrow('damaged, or no such archive');
    for (const joined of [
      Buffer.concat([Buffer.from('#!/bin/sh\n'), whole]),
      Buffer.concat([whole, Buffer.from('more')]),
    ])
      await expect(judged(joined)).rejects.toThrow('it has bytes in front of it or behind it');
    await expect(judged(Buffer.from([0x1f, 0x8b, 8, 0]))).rejects.toThrow('it is compressed with gzip');
    await expect(judged(Buffer.from('text'))).rejects.toThrow('it is no zip archive');
    await expect(judged(zipBytes())).rejects.toThrow('it is empty');
  });
});

it('a zip archive has its programs, links and directories; of a name that comes twice the last one counts', async () => {
  const members = [
    { name: 'bin/run', mode: PROGRAM, content: '#!/bin/sh' },
    { name: 'run', mode: LINK, content: 'bin/run' },
    { name: 'empty/' },
    { name: 'a\\b.txt', content: 'once', flags: 0 },
    { name: 'a/b.txt', content: 'twice' },
    { name: 'größe.txt', content: 'x' },
  ];
  const tree = await judged(zipBytes(...members));
  const verdict = verdictOf(tree, ['run', 'empty', 'a/b.txt']);
  expect(verdict.found).toEqual({ run: 'program', empty: 'directory', 'a/b.txt': 'file' });
  expect(verdict.names).toEqual(['a/b.txt', 'bin/run', 'größe.txt']);
  expect(verdict.unpackedBytes).toBe('#!/bin/sh'.length + 'twice'.length + 1);
});
